# SPDX-License-Identifier: BSD-2-Clause
"""tcp_bytes: however a connection ends, received is what arrived in order, and sent is what TCP sent."""
import contextlib

import pytest

from connections import addresses, addresses_of
from harness import Namespace, assert_loss_equation, wait_until
from puppet import Puppet
from transfers import Talk, assert_numbers, assert_side, bytes_agent, in_namespace, is_closed, records_of, ss, wait_for_ends, wait_for_no_sockets

pytestmark = pytest.mark.any_way
IPS = ["127.0.0.1", "::1"]


@contextlib.contextmanager
def conversation(*ips):
    """(agent, a talk for each address)"""
    with Namespace() as ns, bytes_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        yield agent, [Talk(client, server, listener, ip, port) for ip in ips]


def fill(talk):
    """The client sends what the kernel takes, and the server does not read: what TCP has sent when the window is closed for good."""
    taken = talk.client.must("fill", talk.connected.socket).sent

    def full():
        shown = ss(talk.client.ns, talk.connected)
        return not shown["unacked"] and not shown["snd_wnd"] and shown

    notsent = wait_until(full, 20, "the window to be closed")["notsent"]
    assert 0 < notsent < taken, "part of it waits in the socket"
    assert ss(talk.server.ns, talk.accepted)["bytes_received"] == talk.up + taken - notsent
    return taken - notsent


def test_half_closed():
    """Each side in turn has said that it sends no more, and gets the rest of the other's."""
    with conversation(*IPS) as (agent, talks):
        for talk, first in zip(talks, ("client", "server")):
            talk.move(100, 200)
            if first == "client":
                talk.client.must("shutdown", talk.connected.socket, "write")
                assert talk.server.must("transfer", talk.accepted.fd, 0, "end").received == 0
                talk.move(0, 70_000)
            else:
                talk.server.must("shutdown", talk.accepted.fd, "write")
                assert talk.client.must("transfer", talk.connected.socket, 0, "end").received == 0
                talk.move(80_000, 0)
            talk.finish(server_first=first == "client")
        wait_for_ends(agent, *talks)
        records = agent.stop()
        for talk in talks:
            talk.assert_told(records)


def test_reset_when_all_has_arrived():
    with conversation(*IPS) as (agent, talks):
        for talk in talks:
            talk.move(12_345, 54_321)
            talk.client.must("linger0", talk.connected.socket)
            talk.client.close(talk.connected.socket)
        wait_for_ends(agent, *talks)
        records = agent.stop()
        for talk in talks:
            talk.assert_told(records)


@pytest.mark.parametrize("end", ["linger0", "unread"])
def test_reset_with_unsent_and_unread_data(end):
    """The sender resets, or the receiver closes without having read: what lay in the sender's socket was never sent."""
    with conversation(*IPS) as (agent, talks):
        for talk in talks:
            talk.move(1, 1)
            talk.up += fill(talk)
            if end == "linger0":
                talk.client.must("linger0", talk.connected.socket)
                talk.client.close(talk.connected.socket)
            else:
                talk.server.close(talk.accepted.fd)
        wait_for_ends(agent, *talks)
        records = agent.stop()
        for talk in talks:
            talk.assert_told(records)


def test_never_read():
    """It arrived, and the application never asked: it counts, in the tick in which it arrived as at the end."""
    with conversation(*IPS) as (agent, talks):
        for talk in talks:
            talk.move(5, 5)
            assert talk.client.must("transfer", talk.connected.socket, 3000, 0).sent == 3000
            talk.up += 3000
            ns = talk.server.ns
            agent.wait_for(lambda records: any(r["netline"]["bytes"]["received_total"] == talk.up for r in records_of(records, ns, talk.accepted)))
            talk.server.close(talk.accepted.fd)
        wait_for_ends(agent, *talks)
        records = agent.stop()
        for talk in talks:
            talk.assert_told(records)


@pytest.mark.parametrize("end", ["reset", "close"])
def test_closed_before_it_was_accepted(end):
    """Nobody owns the server's side: what arrived is told without a process."""
    with Namespace() as ns, bytes_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        connected = client.connect("127.0.0.1", port)
        assert client.must("transfer", connected.socket, 4000, 0).sent == 4000
        server.must("readable", listener)
        wait_until(lambda: ss(ns, connected)["bytes_acked"] == 4001, 10, "the data to arrive")
        if end == "reset":
            client.must("linger0", connected.socket)
        client.close(connected.socket)
        if end == "close":
            server.close(listener)
        agent.wait_for(lambda records: sum(map(is_closed, in_namespace(records, ns))) == 2)
        records = agent.stop()
        assert_side(records, client, connected, 4000, 0)
        of_server = [r for r in in_namespace(records, ns) if r["netline"]["role"] == "server"]
        assert {addresses(r) for r in of_server} == {addresses_of(connected)}
        assert sum(r["netline"]["bytes"]["received"] for r in of_server) == 4000
        for record in of_server:
            assert_numbers(record)
            assert "process" not in record
    assert_loss_equation(records, "tcp_bytes")


def test_without_payload_no_record():
    """Connects that are refused, given up before a SYN was sent (put off by fast open; no port left), and connections that carry nothing."""
    with conversation(*IPS) as (agent, talks):
        client, ns = talks[0].client, talks[0].client.ns
        ns.sysctl("net.ipv4.tcp_fastopen", 1 | 4)
        for talk in talks:
            ip, port = talk.connected.remote, talk.connected.remote_port
            assert client.connect(ip, 1).errno == "ECONNREFUSED"
            put_off = client.socket(6 if ":" in ip else 4)
            client.must("option", put_off, "fastopen_connect", 1)
            client.must("connect", put_off, ip, port)
            assert "remote" not in client.must("transfer", put_off, 0, 0), "it has sent its SYN"
            client.close(put_off)
            talk.finish()
        ns.sysctl("net.ipv4.ip_local_port_range", "40000 40001")
        connected = [client.connect(talks[0].connected.remote, talks[0].connected.remote_port) for _ in range(3)]
        assert connected[-1].errno == "EADDRNOTAVAIL"
        for answer in connected:
            client.close(answer.socket)
        talks[0].server.close(talks[0].listener)
        wait_for_no_sockets(ns)
        assert not in_namespace(agent.stop(), ns)
