# SPDX-License-Identifier: BSD-2-Clause
"""tcp_bytes beside 100,000 sockets: nothing is missed, and other probes' records keep coming while it walks."""
import statistics

import pytest

from harness import HARDENED, PREEMPTS_TRACEPOINTS, SCALE, Namespace, assert_loss_equation, of_dataset, refusing
from puppet import Idle
from transfers import assert_numbers, bytes_agent, in_namespace, sums_of

pytestmark = pytest.mark.any_way
CONNECTIONS = 50_000 // SCALE**2  # each has two sockets
PROCESSES = 6  # one may have 20,000 open files
INTERVAL_NS = 100_000_000
TICKS = 20


def nic_durations(records, ns):
    """Of the ticks of lo in the namespace, as measured."""
    return [r["event"]["duration"] for r in of_dataset(records, "nic_throughput")
            if r["netline"]["nic"]["netns"] == str(ns.inum) and r["netline"]["nic"]["scope"] == "total" and r["network"]["direction"] == "egress"]


def touch_and_wait(agent, ns, idle, already, step, size):
    """Moves bytes over some connections, and waits until records add up to the sums since netline's start, which it returns."""
    told = idle.touch(step, size)
    total = already[0] + told.sent, already[1] + told.received
    agent.wait_for(lambda records: sums_of(in_namespace(records, ns)) == total, 30)
    return total


@pytest.mark.parametrize("older", [False, True], ids=["younger", "older"])
@HARDENED
def test_many_sockets(hardened, older):
    with Namespace() as ns:
        idle = Idle(ns, CONNECTIONS, PROCESSES) if older else None
        with bytes_agent("nic_throughput", interval="0.1", ns=ns, env=refusing("elements") if hardened else None) as agent:
            idle = idle or Idle(ns, CONNECTIONS, PROCESSES)
            begin = len(nic_durations(agent.records(), ns))
            sums = touch_and_wait(agent, ns, idle, (0, 0), 1000, 10)
            sums = touch_and_wait(agent, ns, idle, sums, 10, 1)
            agent.wait_for(lambda records: len(nic_durations(records, ns)) >= begin + TICKS, 30)
            durations = nic_durations(agent.records(), ns)[begin:]
            touch_and_wait(agent, ns, idle, sums, 100, 5000)
            records = agent.stop()
        found = in_namespace(records, ns)
        assert {r["process"]["pid"] for r in found if "process" in r or not PREEMPTS_TRACEPOINTS} == set(idle.pids)
        for record in found:
            assert_numbers(record)
    assert statistics.median(durations) < 2 * INTERVAL_NS, "a walk holds other probes up"
    assert assert_loss_equation(records, "tcp_bytes")["lost"] == 0 or PREEMPTS_TRACEPOINTS
