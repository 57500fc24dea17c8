# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_out: what is sent again is marked, and nothing else is. The capture on loopback sees each packet before netfilter drops it."""
import socket

import pytest

from delays import Drop, retransmissions
from delays_out import IPS, assert_same, in_namespace, loopback, of_packets, on_one_cpu, out_agent, told_of
from harness import wait_until
from inerrs import connected_pair
from segments import FIN, SYN
from transfers import Talk

# What is dropped at the receiver's input: a match, how many of them must have been, and which they are.
HANDSHAKE = {
    "SYN": ("tcp dport {port} tcp flags & (syn|ack) == syn", lambda packet: packet.flags == SYN),
    "SYN-ACK": ("tcp sport {port} tcp flags & (syn|ack) == syn|ack", lambda packet: packet.flags & SYN and packet.ack),
}


def assert_marked(lab, agent, again):
    """Each packet is told, and marked if the capture has its data twice; `again`: of which some must be. Returns the marked packets."""
    packets = lab.all_packets()
    found, records = lab.finish(agent)
    assert_same(records, map(told_of, found), of_packets(packets, found))
    marked = [packet for packet, is_again in zip(packets, retransmissions(packets)) if is_again]
    assert marked and all(map(again, marked)), marked
    assert {r["netline"]["packet"]["retransmitted"] for r in found} == {True, False}
    return marked


@pytest.mark.parametrize("ip", IPS)
def test_data(ip, tmp_path):
    """Lost until it has been sent again: the first one is not marked."""
    with loopback(tmp_path) as lab, out_agent(ns=lab.ns) as agent:
        listener, port = lab.server.listen(6)
        talk = Talk(lab.client, lab.server, listener, ip, port).move(10, 10)
        drop = Drop(lab.ns, "input", f"tcp dport {port}")
        lab.client.must("transfer", talk.connected.socket, 1000, 0)
        drop.wait_for(3)
        drop.end()
        assert lab.server.must("transfer", talk.accepted.fd, 0, 1000).received == 1000
        talk.move(5, 5).finish()
        marked = assert_marked(lab, agent, lambda packet: (packet.dport == port and packet.payload == 1000) or packet.flags & FIN)
        assert len(marked) >= 2


@pytest.mark.any_way
@pytest.mark.parametrize("ip", IPS[:2])
@pytest.mark.parametrize("what", HANDSHAKE)
def test_handshake(what, ip, tmp_path):
    """A SYN-ACK that is lost makes the client send its SYN again, too, or the server sends another one by itself."""
    match, is_it = HANDSHAKE[what]
    with loopback(tmp_path) as lab, out_agent(ns=lab.ns) as agent:
        listener, port = lab.server.listen(6)
        drop = Drop(lab.ns, "input", match.format(port=port))
        fd = lab.client.socket(6 if ":" in ip else 4)
        lab.client.order("connect", fd, ip, port)
        drop.wait_for(1)
        drop.end()
        assert lab.client.answer().result == 0
        accepted = lab.server.accept(listener)
        lab.client.close(fd)
        lab.server.close(accepted.fd)
        marked = assert_marked(lab, agent, lambda packet: packet.flags & SYN)
        assert any(map(is_it, marked)), marked


@pytest.mark.any_way
@pytest.mark.parametrize("ip", IPS[:2])
def test_fin(ip, tmp_path):
    with loopback(tmp_path) as lab, out_agent(ns=lab.ns) as agent:
        listener, port = lab.server.listen(6)
        talk = Talk(lab.client, lab.server, listener, ip, port).move(10, 10)
        drop = Drop(lab.ns, "input", f"tcp dport {port}")
        lab.client.close(talk.connected.socket)
        drop.wait_for(2)
        drop.end()
        assert lab.server.must("transfer", talk.accepted.fd, 0, "end").received == 0
        lab.server.close(talk.accepted.fd)
        assert_marked(lab, agent, lambda packet: packet.dport == port and not packet.payload)


@pytest.mark.any_way
@pytest.mark.parametrize("ip", IPS[:2])
def test_fast_open(ip, tmp_path):
    """The socket that sends the first SYN-ACK has counted it as sent before it is."""
    with loopback(tmp_path) as lab, out_agent(ns=lab.ns) as agent:
        lab.ns.sysctl("net.ipv4.tcp_fastopen", 0x607)  # both sides, without cookies
        listener, port = lab.server.listen(6)
        lab.server.must("option", listener, "fastopen", 16)
        fd = lab.client.socket(6 if ":" in ip else 4, nonblock=True)
        lab.client.must("option", fd, "fastopen_connect", 1)
        lab.client.must("connect", fd, ip, port)
        lab.client.must("send", fd, "hello")
        accepted = lab.server.accept(listener)
        lab.client.must("writable", fd)
        lab.client.close(fd)
        lab.server.close(accepted.fd)
        packets = lab.all_packets()
        assert [p.payload for p in packets if p.flags == SYN] == [5]
        found, records = lab.finish(agent)
        assert_same(records, map(told_of, found), of_packets(packets, found))
        assert not any(r["netline"]["packet"]["retransmitted"] for r in found), found


@pytest.mark.any_way
def test_keepalive(tmp_path):
    """It has an old number and no data."""
    with loopback(tmp_path) as lab, out_agent(ns=lab.ns) as agent:
        client, server = connected_pair(lab.ns, lab.ns, "127.0.0.1")
        with on_one_cpu(), client, server:
            client.send(b"x")
            assert server.recv(1) == b"x"
            for name in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
                client.setsockopt(socket.IPPROTO_TCP, name, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            before = lab.counters.sent[0]
            wait_until(lambda: lab.counters.sent[0] >= before + 4, 20, "two keepalives and their answers")
        packets = lab.all_packets()
        found, records = lab.finish(agent)
        assert_same(records, map(told_of, found), of_packets(packets, found))
        ends = {packet.flow: (packet.seq + packet.length) % 2**32 for packet in packets if packet.payload}
        assert any(not p.length and p.flow in ends and p.seq == (ends[p.flow] - 1) % 2**32 for p in packets), "a keepalive"
        assert not any(r["netline"]["packet"]["retransmitted"] for r in found), found
