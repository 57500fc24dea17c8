# SPDX-License-Identifier: BSD-2-Clause
"""tcp_connection: connections that succeed, sockets older than netline, and how a run ends."""
import os

import pytest

from connections import (addresses, assert_accepted, assert_connected, assert_each_told_once, assert_failed, assert_within, by_cookie,
                         in_namespace, link_to_nowhere, plain, tcp_agent, timestamp, wait_for_accept, wait_for_cookie)
from harness import PREEMPTS_TRACEPOINTS, SCALE, Namespace, assert_loss_equation, wait_until
from puppet import Puppet, Traffic
from sockets_table import accept_queue_length, entries, owned_by

MANY = 1000 // SCALE


def test_many_connections_by_threads_and_processes():
    """Also: nothing of a closed connection stays in the socket table."""
    with Namespace() as ns, tcp_agent() as agent:
        traffic = Traffic(ns, MANY)
        connects, accepts = traffic.run()
        if not PREEMPTS_TRACEPOINTS:
            agent.wait_for(lambda records: len(in_namespace(records, ns)) >= 2 * MANY, 30)
            wait_until(lambda: not owned_by(agent, {0, *traffic.pids}), 10, lambda: f"closed sockets to leave: {entries(agent)}")
            wait_until(lambda: not accept_queue_length(agent), 10, "the accept queue to be empty")
        records = agent.stop()
        assert_each_told_once(records, ns, connects, accepts)
    assert len(connects) == MANY and len({answer.pid for answer in accepts}) > 1
    assert {plain(answer.local) for answer in connects} == {"127.0.0.1", "::1"}
    assert any(answer.local.startswith("::ffff:") for answer in connects), "no v4-mapped connections"
    assert_loss_equation(records, "tcp_connection")


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_same_socket_connects_again(ip):
    """A refused connect, then one that succeeds, then one after AF_UNSPEC: one cookie, three records."""
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        refused = client.connect(ip, 1)
        assert refused.errno == "ECONNREFUSED"
        first_record = wait_for_cookie(agent, ns, refused)
        listener, port = server.listen(6)
        second = client.connect(ip, port, fd=refused.socket)
        accepted = server.accept(listener)
        second_record = wait_for_cookie(agent, ns, second, 2)
        client.must("disconnect", refused.socket)
        server.close(accepted.fd)
        third = client.connect(ip, port, fd=refused.socket)
        accepted_again = server.accept(listener)
        third_record = wait_for_cookie(agent, ns, third, 3)
        client.close(third.socket)
        records = agent.stop()
        assert refused.cookie == second.cookie == third.cookie
        assert by_cookie(records, ns, third) == [first_record, second_record, third_record]
        assert_failed(first_record, refused, "econnrefused", client.pid, "client")
        assert_connected(second_record, second, client.pid, "client")
        assert_connected(third_record, third, client.pid, "client")
        accepts = in_namespace(records, ns, "accept")
        assert len(accepts) == 2
        assert_accepted(accepts[0], accepted, server.pid, "server", second)
        assert_accepted(accepts[1], accepted_again, server.pid, "server", third)
    assert_loss_equation(records, "tcp_connection")


def test_simultaneous_open():
    """A socket that connects to itself goes from SYN_SENT over SYN_RECV: still a client, and nothing was accepted."""
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        connected = client.connect("127.0.0.1", 1907, local_port=1907)
        assert connected.result == 0 and connected.remote_port == 1907
        record = wait_for_cookie(agent, ns, connected)
        entry, = owned_by(agent, {client.pid})
        assert entry["role"] == "client"
        client.must("linger0", connected.socket)
        client.close(connected.socket)
        listener, port = server.listen(4)
        other = client.connect("127.0.0.1", port)
        server.accept(listener)
        wait_for_accept(agent, ns, other)
        records = agent.stop()
        assert_connected(record, connected, client.pid, "client")
        assert by_cookie(records, ns, connected) == [record]
        assert [addresses(r)[1] != 1907 for r in in_namespace(records, ns, "accept")] == [True]


def test_listener_older_than_netline():
    with Namespace() as ns:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        with tcp_agent() as agent:
            connected = client.connect("127.0.0.1", port)
            accepted = server.accept(listener)
            record = wait_for_accept(agent, ns, connected)
            assert_accepted(record, accepted, server.pid, "server", connected)
            entry, = owned_by(agent, {server.pid})
            assert entry["role"] == "server"
            agent.stop()


def test_connections_older_than_netline():
    """They stand in the table with owner and role, and make no record: neither then nor when they end, or are accepted."""
    with Namespace() as ns:
        server, client, sharer = Puppet(ns, "server"), Puppet(ns, "client"), Puppet(ns, "sharer")
        listener, port = server.listen(6)
        older = [client.connect(ip, port) for ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1")]
        accepted = [server.accept(listener) for _ in older]
        sharer.connect("127.0.0.1", port)
        child = sharer.must("fork").result
        waiting = client.connect("::1", port)  # two in the accept queue: the shared one and this
        with tcp_agent() as agent:
            of_server, of_client = owned_by(agent, {server.pid}), owned_by(agent, {client.pid})
            assert [entry["role"] for entry in of_server] == ["server"] * 3
            assert [entry["role"] for entry in of_client] == ["unknown"] * 4
            assert {entry["process_name"] for entry in of_server} == {"server"}
            of_sharers, = owned_by(agent, {sharer.pid, child})
            assert of_sharers["pid"] == min(sharer.pid, child)
            assert all(entry["start_ns"] == 0 and entry["tid"] == 0 for entry in of_server + of_client + [of_sharers])
            for fd in [answer.fd for answer in accepted] + [server.accept(listener).fd for _ in range(2)]:
                server.close(fd)
            for answer in (*older, waiting):
                client.close(answer.socket)
            wait_until(lambda: not owned_by(agent, {server.pid, client.pid}), 10, lambda: f"closed sockets to leave: {entries(agent)}")
            last = client.connect("::1", port)
            wait_for_cookie(agent, ns, last)
            records = agent.stop()
        assert [r["event"]["action"] for r in in_namespace(records, ns)] == ["tcp-connect", "tcp-accept"], "only the last, which is pending"


@pytest.mark.any_way
def test_connect_older_than_netline_fails_later():
    """In SYN_SENT when netline starts: a record, but neither duration nor thread."""
    with Namespace() as ns:
        link_to_nowhere(ns)
        client = Puppet(ns, "client")
        connecting = client.connect("10.78.0.2", 80, fd=client.socket(4, nonblock=True))
        assert connecting.errno == "EINPROGRESS"
        with tcp_agent() as agent:
            closed = client.must("close", connecting.socket)
            record = wait_for_cookie(agent, ns, connecting)
            agent.stop()
        assert (record["event"]["outcome"], record["event"]["reason"]) == ("failure", "aborted")
        assert record["netline"]["role"] == "client" and "duration" not in record["event"]
        assert record["process"] == {"pid": client.pid, "name": "client"}
        assert addresses(record) == ("10.78.0.1", connecting.local_port, "10.78.0.2", 80)
        assert_within(timestamp(record), closed.start_real, closed.end_real)


@pytest.mark.any_way
def test_count_ends_the_run():
    """After exactly so many records, exit status 0, and the books are closed."""
    with Namespace() as ns, tcp_agent("--count", 5) as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        for _ in range(10):
            client.connect("127.0.0.1", port)
            server.accept(listener)
        records = agent.stop(sig=None)
    counters = assert_loss_equation(records, "tcp_connection")
    assert counters["emitted"] == 5


@pytest.mark.any_way
def test_duration_ends_the_run():
    with Namespace() as ns, tcp_agent("--duration", "0.5") as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        connected = client.connect("127.0.0.1", port)
        accepted = server.accept(listener)
        assert accepted.remote_port == connected.local_port
        records = agent.stop(sig=None)
        uptime, = (r["netline"]["agent"]["uptime_ns"] for r in records if r["netline"].get("scope") == "agent")
        assert 500_000_000 <= uptime < 5_000_000_000
        assert_loss_equation(records, "tcp_connection")


@pytest.mark.any_way
def test_labels_and_host():
    with Namespace() as ns, tcp_agent("--label", "site=fra-1", "--label", 'odd key="\\\t\u00e9', "--host", "web-01") as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        connected = client.connect("127.0.0.1", port)
        server.accept(listener)
        wait_for_accept(agent, ns, connected)
        records = agent.stop()
    assert {tuple(r["labels"].items()) for r in records} == {(("site", "fra-1"), ("odd key", '"\\\t\u00e9'))}
    assert {r["host"]["name"] for r in records} == {"web-01"}


@pytest.mark.any_way
def test_host_is_the_hosts_name():
    with tcp_agent() as agent:
        records = agent.stop()
    assert records and all(r["host"]["name"] == os.uname().nodename and "labels" not in r for r in records)
