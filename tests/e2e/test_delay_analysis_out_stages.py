# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_out: a delay that a test causes in IP stands there, and in no other stage."""
import statistics

import pytest

from delays import nft
from delays_out import IPS, STAGES, in_namespace, out_agent
from harness import Namespace, assert_loss_equation
from inerrs import connected_pair

TIMES = 100
RULES = 10_000


@pytest.mark.parametrize("ip", IPS)
def test_many_rules(ip):
    """Of two connections used by turns only one goes through thousands of rules."""
    with Namespace() as ns, out_agent(ns=ns) as agent:
        long, short = connected_pair(ns, ns, ip), connected_pair(ns, ns, ip)
        long_port, short_port = (server.getsockname()[1] for _, server in (long, short))
        nft(ns, "add table inet t", "add chain inet t output { type filter hook output priority 0; }", "add chain inet t long",
            *["add rule inet t long tcp sport 1 drop"] * RULES, f"add rule inet t output tcp dport {long_port} jump long")
        for _ in range(TIMES):
            for client, server in (long, short):
                client.sendall(b"x")
                assert server.recv(1) == b"x"
        for each in (*long, *short):
            each.close()
        records = agent.stop()
        assert_loss_equation(records, "delay_analysis_out")
        slow, fast = (medians(in_namespace(records, ns), port) for port in (long_port, short_port))
    longer = {stage: slow[stage] - fast[stage] for stage in STAGES}
    assert longer["ip_ns"] > 2 * fast["ip_ns"], longer
    assert longer["tcp_ns"] < longer["ip_ns"] / 4 and longer["qdisc_ns"] < longer["ip_ns"] / 4, longer


def medians(found, port):
    """Of the packets with data for that port."""
    sent = [r["netline"]["delay"] for r in found if r["destination"]["port"] == port and "PSH" in r["netline"]["tcp"]["flags"]]
    assert len(sent) >= 0.9 * TIMES
    return {stage: statistics.median(delay[stage] for delay in sent) for stage in STAGES}
