# SPDX-License-Identifier: BSD-2-Clause
"""
tcp_bytes where packets are lost: each byte counts once as sent, and what was sent again stands apart, as the kernel has it: what the
own host drops on the way out it sends again as if it were new.
"""
import contextlib
import re

import pytest

from harness import SCALE, Namespace, assert_loss_equation, veth
from puppet import Puppet
from transfers import Talk, assert_as_kernel, bytes_agent, wait_for_ends

pytestmark = pytest.mark.any_way
IPS = ["10.77.0.2", "fd77::2", "::ffff:10.77.0.2"]
SIZE = 6_000_000 // SCALE
TURNS = 3


@contextlib.contextmanager
def lossy_link(lose):
    """(agent, two namespaces, what counts losses): a link with Ethernet's segments, which are sent again soon; lose(a, b) makes it lossy."""
    with Namespace() as ns, Namespace() as other, bytes_agent() as agent:
        veth(ns, other)
        for each in (ns, other):
            each.run(["ethtool", "-K", "eth0", "tso", "off", "gso", "off"])
            for route in (["10.77.0.0/24"], ["fd77::/64", "metric", 256]):
                each.run(["ip", "route", "change", *route, "dev", "eth0", "proto", "kernel", "rto_min", "20ms"])
        yield agent, ns, other, lose(ns, other)


def drop(sender, ns, hook, share):
    """One TCP packet of so many at this hook, at random; the sender's are single segments, so that there are many."""
    sender.run(["ip", "link", "set", "eth0", "gso_max_segs", "1"])
    for line in ("add table inet t", f"add chain inet t c {{ type filter hook {hook} priority 0; }}",
                 f"add rule inet t c meta l4proto tcp numgen random mod {share} 0 counter drop"):
        ns.run(["nft", line])
    return lambda: int(re.search(r"counter packets (\d+)", ns.run("nft list chain inet t c".split()).stdout)[1])


def tbf(ns):
    ns.run("tc qdisc add dev eth0 root tbf rate 100mbit burst 10k limit 15k".split())
    return lambda: int(re.search(r"dropped (\d+)", ns.run("tc -s qdisc show dev eth0".split()).stdout)[1])


LOSSES = {  # each returns what counts the packets lost
    "receiver's input": lambda ns, other: drop(ns, other, "input", 30),
    "sender's output": lambda ns, other: drop(ns, ns, "output", 30),
    "tbf": lambda ns, other: tbf(ns),
}


@pytest.mark.parametrize("where", LOSSES)
def test_loss(where):
    with lossy_link(LOSSES[where]) as (agent, ns, other, losses):
        server, client = Puppet(other, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        talks = [Talk(client, server, listener, ip, port) for ip in IPS]
        for talk in talks:
            for _ in range(TURNS):
                talk.move(SIZE // TURNS // len(IPS), 10_000)
            assert_as_kernel(agent, client, talk.connected, talk.up, talk.down)
            assert_as_kernel(agent, server, talk.accepted, talk.down, talk.up)
            talk.finish()
        wait_for_ends(agent, *talks)
        records = agent.stop()
        for talk in talks:
            talk.assert_told(records)
        assert losses()
    assert_loss_equation(records, "tcp_bytes")
