# SPDX-License-Identifier: BSD-2-Clause
"""tcp_connection: the accepting side. Every way to accept, the wait in the accept queue, and what is never accepted."""
import time

import pytest

from connections import (addresses, addresses_of, assert_accepted, assert_cookie, assert_envelope, assert_owner, assert_within, in_namespace,
                         link_to_nowhere, tcp_agent, timestamp, wait_for_accept, wait_for_cookie, way_and_hooks)
from harness import Namespace, assert_loss_equation, blocked_in, veth, wait_until
from puppet import Puppet
from sockets_table import owned_by

IPS = ["127.0.0.1", "::1", "::ffff:127.0.0.1"]


def accept_or_skip(server, listener, how, n=1):
    """Accepts in this way n times; skips where the kernel has not got it."""
    server.order("accept", listener, how, n)
    return [answer_or_skip(server, how) for _ in range(n)]


def answer_or_skip(server, how):
    answer = server.answer()
    if answer.errno in ("ENOSYS", "EPERM", "EINVAL"):
        pytest.skip(f"this kernel has no accept by {how}: {answer.errno}")
    assert answer.result >= 0, answer
    return answer


def sees(agent, how):
    """Whether the hooks in use see an accept of this kind."""
    way, hooks = way_and_hooks(agent.records())
    if way in ("fentry", "kprobe") or not how.startswith("uring"):
        return True
    return "io_uring_complete" in hooks


def accepts_of(records, ns, connected):
    return [r for r in in_namespace(records, ns, "accept") if addresses(r) == addresses_of(connected)]


def assert_not_accepted(record, connected, state):
    assert_envelope(record, "accept", "server", connected.local)
    assert addresses(record) == addresses_of(connected)
    assert record["netline"]["accept"]["state"] == state and record["netline"]["srtt_ns"] > 0
    assert "process" not in record and "duration" not in record["event"]
    expected = ("failure", "closed_before_accept") if state == "closed" else ("success", None)
    assert (record["event"]["outcome"], record["event"].get("reason")) == expected


@pytest.mark.parametrize("ip", IPS)
@pytest.mark.parametrize("how", ["accept", "accept4", "int80", "uring", "uring_async", "uring_multishot"])
def test_ways_to_accept(how, ip):
    """One connection that waits when accept is called, then one that comes when accept waits."""
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        connected = [client.connect(ip, port)]
        accepted = accept_or_skip(server, listener, how)
        server.order("accept", listener, how)
        connected.append(client.connect(ip, port))
        accepted.append(answer_or_skip(server, how))
        if not sees(agent, how):
            assert_told_at_the_end(agent, ns, client, connected)
            return
        for one, other in zip(connected, accepted):
            record = wait_for_accept(agent, ns, one)
            assert_accepted(record, other, server.pid, "server", one, thread=not how.startswith("uring"))
        assert len(in_namespace(agent.stop(), ns, "accept")) == 2


def assert_told_at_the_end(agent, ns, client, connected):
    """No hook saw the accept: that there was one is told when the connection ends, without process and wait."""
    assert not in_namespace(agent.records(), ns, "accept")
    for one in connected:
        client.must("linger0", one.socket)
        client.close(one.socket)
        record = wait_for_accept(agent, ns, one)
        assert (record["event"]["outcome"], record["netline"]["accept"]) == ("success", {"state": "accepted"})
        assert "process" not in record
    assert len(in_namespace(agent.stop(), ns, "accept")) == len(connected)


def test_multishot_accepts_several():
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        connected = [client.connect(ip, port) for ip in IPS]
        accepted = {addresses_of(answer): answer for answer in accept_or_skip(server, listener, "uring_multishot", 3)}
        if not sees(agent, "uring_multishot"):
            assert_told_at_the_end(agent, ns, client, connected)
            return
        for one in connected:
            record = wait_for_accept(agent, ns, one)
            assert_accepted(record, accepted[addresses_of(one)], server.pid, "server", one, thread=False)
        assert len(in_namespace(agent.stop(), ns, "accept")) == 3


def test_completion_that_looks_like_an_accept():
    """Its result is the descriptor of a socket that connects: nothing was accepted, and the owner and the connect stay as they are."""
    with Namespace() as ns, tcp_agent() as agent:
        link_to_nowhere(ns)
        client = Puppet(ns, "client")
        connecting = client.connect("10.78.0.2", 80, fd=client.socket(4, nonblock=True))
        before, = owned_by(agent, {client.pid})
        completed = client.do("complete", connecting.socket)
        if completed.errno in ("ENOSYS", "EPERM", "EINVAL"):
            pytest.skip(f"this kernel's io_uring takes no messages: {completed.errno}")
        assert completed.result == 0, completed
        assert owned_by(agent, {client.pid}) == [before]
        client.close(connecting.socket)
        record = wait_for_cookie(agent, ns, connecting)
        assert (record["event"]["action"], record["event"]["reason"]) == ("tcp-connect", "aborted")
        assert in_namespace(agent.stop(), ns) == [record]


@pytest.mark.parametrize("how", ["uring_direct", "socketcall"])
def test_accept_that_hooks_may_not_see(how):
    """Into io_uring's own file table, and by a 32-bit program's socketcall(). Either the owner is right, or it is absent
    and the record comes when the connection ends; it is never told as closed before accept."""
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        connected = client.connect("127.0.0.1", port)
        accept_or_skip(server, listener, how)
        client.must("linger0", connected.socket)
        client.close(connected.socket)  # RST: the connection ends on the accepting side, too
        record = wait_for_accept(agent, ns, connected)
        assert accepts_of(agent.stop(), ns, connected) == [record]
        assert record["event"]["outcome"] == "success" and record["netline"]["accept"]["state"] == "accepted"
        if "process" in record:
            assert (record["process"]["pid"], record["process"]["name"]) == (server.pid, "server")
        else:
            assert "wait_ns" not in record["netline"]["accept"], "the accept was not seen"


@pytest.mark.parametrize("how", ["accept", "accept4"])
def test_accept_that_blocked_before_netline_started(how):
    with Namespace() as ns:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        server.order("accept", listener, how)
        wait_until(lambda: blocked_in(server.pid, how), 10, "accept to block")
        with tcp_agent() as agent:
            connected = client.connect("::1", port)
            accepted = server.answer()
            assert_accepted(wait_for_accept(agent, ns, connected), accepted, server.pid, "server", connected)
            assert len(in_namespace(agent.stop(), ns, "accept")) == 1


@pytest.mark.parametrize("ip", IPS)
def test_slow_accept(ip):
    """wait_ns is the time in the accept queue, bounded on both sides by what the programs measured."""
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        connected = client.connect(ip, port)
        queued = server.must("readable", listener)
        wait_until(lambda: time.monotonic_ns() >= queued.end + 50_000_000, 10, "50 ms to pass")
        accepted = server.accept(listener)
        record = wait_for_accept(agent, ns, connected)
        assert_accepted(record, accepted, server.pid, "server", connected)
        wait = record["netline"]["accept"]["wait_ns"]
        assert 50_000_000 <= accepted.start - queued.end <= wait <= accepted.end - connected.start
        assert_within(timestamp(record), connected.start_real, queued.end_real)


@pytest.mark.parametrize("ip", IPS)
def test_syn_cookies(ip):
    """The kernel keeps nothing of the handshake, and so may have no round-trip time."""
    with Namespace() as ns, tcp_agent() as agent:
        ns.sysctl("net.ipv4.tcp_syncookies", 2)
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        connected = client.connect(ip, port)
        accepted = server.accept(listener)
        record = wait_for_accept(agent, ns, connected)
        record["netline"].setdefault("srtt_ns", accepted.rtt_us * 1000)
        assert_accepted(record, accepted, server.pid, "server", connected)
        assert len(in_namespace(agent.stop(), ns, "accept")) == 1


def test_deferred_accept():
    """TCP_DEFER_ACCEPT: established, and in the queue, only when data comes."""
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        server.must("option", listener, "defer_accept", 30)
        connected = client.connect("127.0.0.1", port)
        sent = client.must("send", connected.socket, "hello")
        accepted = server.accept(listener)
        record = wait_for_accept(agent, ns, connected)
        assert_accepted(record, accepted, server.pid, "server", connected)
        assert_within(timestamp(record), sent.start_real, accepted.end_real)
        assert record["netline"]["accept"]["wait_ns"] <= accepted.end - sent.start
        assert len(in_namespace(agent.stop(), ns, "accept")) == 1


@pytest.mark.parametrize("early", [False, True])
def test_fast_open(early):
    """Data in the SYN. Early: accepted before the handshake ends, because the SYN-ACK is dropped at first."""
    with Namespace() as ns, Namespace() as other, tcp_agent() as agent:
        veth(ns, other)
        for one in (ns, other):
            one.sysctl("net.ipv4.tcp_fastopen", 0x607)  # both sides, without cookies
        server, client = Puppet(other, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        server.must("option", listener, "fastopen", 16)
        if early:
            other.run(["nft", "add table inet t; add chain inet t out { type filter hook output priority 0; };"
                       "add rule inet t out tcp flags & (syn | ack) == syn | ack drop"])
        fd = client.socket(4, nonblock=True)
        client.must("option", fd, "fastopen_connect", 1)
        connecting = client.must("connect", fd, "10.77.0.2", port)  # sends nothing yet
        sent = client.must("send", fd, "hello")
        accepted = server.accept(listener)
        if early:
            assert not in_namespace(agent.records(), other) + in_namespace(agent.records(), ns)
            other.run(["nft", "delete", "table", "inet", "t"])
        connected = client.must("writable", fd)
        record = agent.wait_for(lambda records: in_namespace(records, other))[0]
        agent.wait_for(lambda records: in_namespace(records, ns))
        records = agent.stop()
        assert [r["event"]["action"] for r in in_namespace(records, ns) + in_namespace(records, other)] == ["tcp-connect", "tcp-accept"]
        assert_envelope(record, "accept", "server", accepted.remote)
        assert_owner(record, server.pid, "server")
        assert (record["event"]["outcome"], record["netline"]["accept"]["state"]) == ("success", "accepted")
        assert addresses(record) == addresses_of(accepted)
        if early:
            assert "wait_ns" not in record["netline"]["accept"], "it did not wait"
            assert timestamp(record) >= accepted.end_real
        else:
            assert_accepted(record, accepted, server.pid, "server")
        connect, = in_namespace(records, ns)
        assert_envelope(connect, "connect", "client", accepted.local)
        assert addresses(connect) == addresses_of(accepted)
        assert_owner(connect, client.pid, "client")
        assert_within(timestamp(connect), sent.start_real, connected.end_real)
        assert sent.start - connecting.end <= connect["event"]["duration"] <= connected.end - connecting.start


@pytest.mark.parametrize("ip", IPS)
def test_reset_before_accept(ip):
    """Told when the RST comes; accept returns the dead socket later, and nothing more is told."""
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        connected = client.connect(ip, port)
        queued = server.must("readable", listener)
        client.must("linger0", connected.socket)
        reset = client.must("close", connected.socket)
        record = wait_for_accept(agent, ns, connected)
        dead = server.accept(listener)
        assert "remote" not in dead
        after = client.connect(ip, port)
        accepted = server.accept(listener)
        assert_accepted(wait_for_accept(agent, ns, after), accepted, server.pid, "server", after)
        records = agent.stop()
        assert accepts_of(records, ns, connected) == [record] and len(in_namespace(records, ns, "accept")) == 2
        assert_not_accepted(record, connected, "closed")
        assert_within(timestamp(record), reset.start_real, dead.start_real)
        assert reset.start - queued.end <= record["netline"]["accept"]["wait_ns"] <= dead.start - connected.start
        assert_cookie(record, dead)
        assert_loss_equation(records, "tcp_connection")


@pytest.mark.parametrize("client_closes", [False, True])
def test_listener_closed_before_accept(client_closes):
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        connected = [client.connect(ip, port) for ip in IPS]
        if client_closes:  # in CLOSE_WAIT then: still waiting to be accepted
            for answer in connected:
                client.close(answer.socket)
        closed = server.must("close", listener)
        for answer in connected:
            record = wait_for_accept(agent, ns, answer)
            assert_not_accepted(record, answer, "closed")
            assert_within(timestamp(record), closed.start_real, closed.end_real)
            assert 0 < record["netline"]["accept"]["wait_ns"] <= closed.end - answer.start
        records = agent.stop()
        assert len(in_namespace(records, ns, "accept")) == 3
        assert_loss_equation(records, "tcp_connection")


def test_closed_by_client_then_accepted():
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        connected = client.connect("127.0.0.1", port)
        client.close(connected.socket)
        accepted = server.accept(listener)
        assert_accepted(wait_for_accept(agent, ns, connected), accepted, server.pid, "server", connected)
        assert len(in_namespace(agent.stop(), ns, "accept")) == 1


def test_pending_when_netline_stops():
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        connected = [client.connect(ip, port) for ip in IPS]
        queued = server.must("readable", listener)
        agent.wait_for(lambda records: len(in_namespace(records, ns, "connect")) == 3)
        assert not in_namespace(agent.records(), ns, "accept")
        before = time.monotonic_ns()
        records = agent.stop()
        after = time.monotonic_ns()
        for answer in connected:
            record, = accepts_of(records, ns, answer)
            assert_not_accepted(record, answer, "pending")
            assert_within(timestamp(record), answer.start_real, queued.end_real)
            assert 0 < before - queued.end <= record["netline"]["accept"]["wait_ns"] <= after - answer.start
        assert_loss_equation(records, "tcp_connection")


def test_in_the_queue_before_netline_started():
    """The beginning was not seen: no record, but the table knows the owner from the accept on."""
    with Namespace() as ns:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        client.connect("127.0.0.1", port)
        with tcp_agent() as agent:
            server.accept(listener)
            connected = client.connect("127.0.0.1", port)
            accepted = server.accept(listener)
            assert_accepted(wait_for_accept(agent, ns, connected), accepted, server.pid, "server", connected)
            assert len(in_namespace(agent.stop(), ns, "accept")) == 1
