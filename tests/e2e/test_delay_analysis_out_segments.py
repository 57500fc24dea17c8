# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_out with large packets: cut by the NIC, on the way to its driver, by a queueing discipline, or by TCP; as the other side sees them."""
import math

import pytest

from delays_out import assert_complete, assert_same, in_namespace, link, of_packets, out_agent, told_of
from harness import SCALE
from transfers import Talk

pytestmark = pytest.mark.any_way

SIZE = 1_000_000 // SCALE
SERVERS = {"10.77.0.2": 1500 - 20 - 32, "fd77::2": 1500 - 40 - 32}  # and the payload of a full segment with timestamps
OFFLOADS = {  # of the sender, and what else is done to it
    "by the NIC": ("on", "on", None),  # veth hands them over as they are
    "on the way to the driver": ("off", "on", None),
    "by tbf": ("on", "on", "tc qdisc add dev eth0 root tbf rate 400mbit burst 3k limit 10mb"),
    "by TCP": ("off", "off", "ip link set eth0 gso_max_segs 1"),
}


def segments_of(packets, full):
    return sum(max(1, math.ceil(p.payload / full)) for p in packets)


@pytest.mark.parametrize("ip", SERVERS)
@pytest.mark.parametrize("cut", OFFLOADS)
def test_bulk(cut, ip, tmp_path):
    tso, gso, command = OFFLOADS[cut]
    with link(tmp_path) as lab:
        lab.here.run(["ethtool", "-K", "eth0", "tso", tso, "gso", gso])
        lab.there.run(["ethtool", "-K", "eth0", "gro", "off"])
        if command:
            lab.here.run(command.split())
        with out_agent(ns=lab.here) as agent:
            listener, port = lab.server.listen(6)
            Talk(lab.client, lab.server, listener, ip, port).move(SIZE, 1000).finish()
            packets, arrived = ([p for p in side if p.sport != port] for side in lab.all_packets())
            found, records = lab.finish(agent)
        counted = assert_same(records, map(told_of, found), of_packets(packets, found))
        assert counted["produced"] == lab.counters[0].sent[0] or counted["lost"]
        assert sum(r["netline"]["packet"]["segments"] for r in found) == segments_of(arrived, SERVERS[ip]) or counted["lost"]
        assert (len(arrived) > len(found)) == (cut in ("on the way to the driver", "by tbf")), "the other side sees the pieces"
        assert any(r["netline"]["packet"]["segments"] > 1 for r in found) == (cut != "by TCP")
        assert sum(p.payload for p in arrived) >= SIZE
        assert_complete(found)
