# SPDX-License-Identifier: BSD-2-Clause
"""nic_throughput behind netem: what the driver was given counts, not what was sent."""
import pytest

from harness import Agent, assert_loss_equation
from test_nic_throughput import FAST, Datagrams, link_counters, of_nic, silent_pair, summed, wait_for_packets

PACKETS = 400


@pytest.mark.parametrize("netem, more", [(["loss", "30%"], False), (["duplicate", "30%"], True), (["delay", "5ms", "reorder", "50%"], None)],
                         ids=["loss", "duplicate", "reorder"])
def test_netem(netem, more):
    with silent_pair() as (a, b), Agent(*FAST) as agent, Datagrams(a, b) as traffic:
        a.run(["tc", "qdisc", "add", "dev", "eth0", "root", "netem", *netem])
        traffic.send(500, PACKETS)
        agent.wait_for(lambda records: "backlog 0b 0p" in a.run(["tc", "-s", "qdisc", "show", "dev", "eth0"]).stdout)
        left = link_counters(a, "eth0")["egress"]
        wait_for_packets(agent, a, "egress", left[0])
        wait_for_packets(agent, b, "ingress", left[0])
        records = agent.stop()
        assert summed(of_nic(records, a, "eth0", "egress"))[:2] == link_counters(a, "eth0")["egress"] == left
        assert summed(of_nic(records, b, "eth0", "ingress"))[:2] == link_counters(b, "eth0")["ingress"] == left
        assert_loss_equation(records, "nic_throughput")
    assert left[0] == PACKETS if more is None else (left[0] > PACKETS) == more and left[0] != PACKETS
