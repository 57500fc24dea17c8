# SPDX-License-Identifier: BSD-2-Clause
"""tcp_connection where packets are late, lost, doubled, out of order, or translated: each connection is still told once a side."""
import contextlib

import pytest

from connections import (addresses, addresses_of, assert_accepted, assert_connected, assert_each_told_once, in_namespace, tcp_agent,
                         wait_for_accept, wait_for_cookie)
from harness import PREEMPTS_TRACEPOINTS, Namespace, assert_loss_equation, of_dataset, veth
from puppet import Puppet, Traffic

pytestmark = pytest.mark.any_way
CONNECTIONS = 60


def run_through(agent, ns, *netem):
    """Connections over a loopback with this netem: (records, namespace, connects, accepts)."""
    ns.run(["tc", "qdisc", "add", "dev", "lo", "root", "netem", *netem])
    traffic = Traffic(ns, CONNECTIONS)
    connects, accepts = traffic.run()
    if not PREEMPTS_TRACEPOINTS:
        agent.wait_for(lambda records: len(in_namespace(records, ns)) >= 2 * CONNECTIONS, 30)
    records = agent.stop()
    assert_loss_equation(records, "tcp_connection")
    return records, ns, connects, accepts


def test_delay():
    """20 ms each way: nothing of a handshake is faster than both."""
    with Namespace() as ns, tcp_agent() as agent:
        run = run_through(agent, ns, "delay", "20ms")
        assert_each_told_once(*run)
        records = in_namespace(run[0], ns)
    assert min(r["event"]["duration"] for r in records if r["event"]["action"] == "tcp-connect") >= 40_000_000
    assert min(r["netline"]["srtt_ns"] for r in records if r["event"]["action"] == "tcp-accept") >= 40_000_000


@pytest.mark.parametrize("netem", [["duplicate", "50%"], ["delay", "10ms", "reorder", "50%"]], ids=lambda netem: netem[-2])
def test_duplicates_and_reordering(netem):
    with Namespace() as ns, tcp_agent() as agent:
        assert_each_told_once(*run_through(agent, ns, *netem))


def test_loss():
    """A SYN, SYN-ACK or ACK that was lost is sent again after a second; where the kernel has no round-trip time then, the record has none."""
    with Namespace() as ns, tcp_agent() as agent:
        records, _, connects, accepts = run_through(agent, ns, "loss", "10%")
        rtt = {addresses_of(answer): answer.rtt_us * 1000 for answer in accepts}
        for record in of_dataset(records, "tcp_connection"):
            if record["event"]["action"] == "tcp-accept" and rtt.get(addresses(record)) == 0:
                assert "srtt_ns" not in record["netline"]
                rtt[addresses(record)] = record["netline"]["srtt_ns"] = 1000
        for answer in accepts:
            answer["rtt_us"] = rtt[addresses_of(answer)] // 1000
        assert_each_told_once(records, ns, connects, accepts)


NAT = """
add table {family} t
add chain {family} t before {{ type nat hook prerouting priority -100; }}
add chain {family} t after {{ type nat hook postrouting priority 100; }}
add rule {family} t before iifname eth0 tcp dport 8080 dnat to {server}
add rule {family} t after oifname eth1 masquerade
"""
SIDES = {  # family: (client, router, router, server), the server as nft has it
    "ip": ("10.1.0.2", "10.1.0.1", "10.2.0.1", "10.2.0.2", "10.2.0.2:{port}"),
    "ip6": ("fd01::2", "fd01::1", "fd02::1", "fd02::2", "[fd02::2]:{port}"),
}


@contextlib.contextmanager
def behind_a_router(family):
    """A client and a server, and between them a router that the client takes for the server: (client, router, server)."""
    with Namespace() as client, Namespace() as router, Namespace() as server:
        four, six = SIDES["ip"], SIDES["ip6"]
        veth(client, router, ip4=four[:2], ip6=six[:2])
        veth(router, server, name_a="eth1", ip4=four[2:4], ip6=six[2:4])
        router.sysctl("net.ipv4.ip_forward", 1)
        router.sysctl("net.ipv6.conf.all.forwarding", 1)
        yield client, router, server


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_nat_on_the_way(family):
    """Source and destination are translated: each side is told as its own socket has it."""
    client_ip, dialled, router_ip, server_ip, target = SIDES[family]
    with behind_a_router(family) as (ns, router, other), tcp_agent() as agent:
        server, client = Puppet(other, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        for line in NAT.format(family=family, server=target.format(port=port)).strip().splitlines():
            router.run(["nft", line])
        connected = client.connect(dialled, 8080)
        accepted = server.accept(listener)
        connect = wait_for_cookie(agent, ns, connected)
        accept = agent.wait_for(lambda records: in_namespace(records, other))[0]
        records = agent.stop()
        assert_connected(connect, connected, client.pid, "client")
        assert_accepted(accept, accepted, server.pid, "server")
        assert (addresses(connect)[0], addresses(connect)[2:]) == (client_ip, (dialled, 8080))
        assert (addresses(accept)[0], addresses(accept)[2:]) == (router_ip, (server_ip, port))
        assert not in_namespace(records, router) and len(in_namespace(records, ns) + in_namespace(records, other)) == 2


def test_nat_on_the_host():
    """A port that is redirected on the way out: the client has the port that it dialled, the server its own."""
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        for line in ("add table ip t", "add chain ip t out { type nat hook output priority -100; }",
                     f"add rule ip t out tcp dport 8080 redirect to :{port}"):
            ns.run(["nft", line])
        connected = client.connect("127.0.0.1", 8080)
        accepted = server.accept(listener)
        assert_connected(wait_for_cookie(agent, ns, connected), connected, client.pid, "client")
        assert (connected.remote_port, accepted.local_port) == (8080, port)
        record = wait_for_accept(agent, ns, accepted)
        assert_accepted(record, accepted, server.pid, "server")
        assert len(in_namespace(agent.stop(), ns)) == 2
