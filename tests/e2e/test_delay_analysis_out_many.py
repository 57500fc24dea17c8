# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_out: very many packets. Each is told, or counted as lost, and none stays under way."""
import subprocess

import pytest

from counted import Counted, under_way
from delays import TcpCounters
from delays_out import PROBE, out_agent
from harness import PREEMPTS_TRACEPOINTS, SCALE, Namespace, events, of_dataset, program
from transfers import wait_for_no_sockets

pytestmark = pytest.mark.any_way

TURNS = 500_000 // SCALE**2  # two packets each


def test_million():
    """Requests and responses, a packet each."""
    with Namespace() as ns, Counted({"packets": b'"dataset":"netline.%s"' % PROBE.encode()}) as counted:
        counters = TcpCounters(ns)
        with out_agent("--ring-size", "64M", ns=ns, stdout=counted.writer) as agent:
            counted.close()
            process = ns.popen([program("pingpong"), "127.0.0.1", TURNS, 100], stdout=subprocess.PIPE, text=True)
            took, _ = process.communicate(timeout=60 * SCALE)
            assert process.returncode == 0
            wait_for_no_sockets(ns)
            sent, left = counters.sent[0], under_way(agent)
            agent.stop()
    records, told = counted.kept(), counted.counts["packets"]
    found = events(records, PROBE)
    print(f"{found}; {int(took) / TURNS / 2:.0f} ns a packet; {left} left; {[r['message'] for r in of_dataset(records, 'agent_lost')]}")
    assert found["produced"] == found["emitted"] + found["filtered"] + found["lost"]
    assert found["emitted"] == told and not found["filtered"]
    if not PREEMPTS_TRACEPOINTS:
        assert found["produced"] == sent >= 2 * TURNS
        assert left == 0
