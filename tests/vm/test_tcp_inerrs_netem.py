# SPDX-License-Identifier: BSD-2-Clause
"""tcp_inerrs on a link that loses, delays, doubles and reorders packets: what a healthy connection makes of that is no error."""
import pytest

from harness import SCALE
from inerrs import connected_pair, inerrs_agent, lab, others_than_the_last, transfer
from segments import counters

pytestmark = pytest.mark.any_way


@pytest.mark.parametrize("delay", [["4ms"], ["4ms", "3ms"]], ids=" ".join)
def test_bad_link(delay):
    """Where a segment is overtaken by one that was sent again, the kernel may refuse it by its timestamp though it does not have it: that is an error."""
    with lab("10.77.0.2", True) as there, inerrs_agent() as agent:
        links = [(there.here, "far0"), (there.there, "near0")]
        for ns, name in links:
            ns.run(["ip", "link", "set", name, "gso_max_segs", "1"])  # many packets, so that some are lost; a socket takes it over as it connects
        client, server = connected_pair(there.here, there.there, there.ip)  # before netem: a SYN that comes twice is an error to the kernel
        for ns, name in links:
            ns.run(["tc", "qdisc", "add", "dev", name, "root", "netem", "delay", *delay, "loss", "3%", "duplicate", "3%"])
        with client, server:
            transfer(client, server, (4 << 20) // SCALE)
            transfer(server, client, (4 << 20) // SCALE)
        assert counters(there.here)["RetransSegs"] + counters(there.there)["RetransSegs"] > 0
        for ns, name in links:
            ns.run(["tc", "qdisc", "del", "dev", name, "root"])
        others = others_than_the_last(agent, there)
        assert [r for r in others if len(delay) == 1 or r["event"]["reason"] != "paws" or r["netline"]["packet"]["bytes"] < 100] == []
