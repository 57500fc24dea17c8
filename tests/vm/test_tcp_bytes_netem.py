# SPDX-License-Identifier: BSD-2-Clause
"""tcp_bytes where packets are late, doubled or out of order: the sums are still what the applications moved."""
import pytest

from harness import Namespace
from puppet import Traffic
from transfers import assert_exact, assert_ticks, bytes_agent, wait_for_no_sockets

pytestmark = pytest.mark.any_way
CONNECTIONS = 60


@pytest.mark.parametrize("netem", [["delay", "10ms", "reorder", "50%"], ["duplicate", "50%"]], ids=lambda netem: netem[-2])
def test_netem(netem):
    with Namespace() as ns:
        ns.run(["tc", "qdisc", "add", "dev", "lo", "root", "netem", *netem])
        traffic = Traffic(ns, CONNECTIONS, max_bytes=1 << 18)
        with bytes_agent() as agent:
            connects, accepts = traffic.run()
            wait_for_no_sockets(ns)
            records = agent.stop()
        assert_exact(records, ns, connects + accepts)
    assert_ticks(records)
