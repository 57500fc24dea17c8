# SPDX-License-Identifier: BSD-2-Clause
"""tcp_bytes: the sums over all records are what the applications moved, to the byte."""
import pytest

from connections import addresses
from harness import PREEMPTS_TRACEPOINTS, SCALE, Namespace, assert_loss_equation, veth
from puppet import Puppet, Traffic
from transfers import (Talk, assert_as_kernel, assert_exact, assert_story, assert_ticks, bytes_agent, in_namespace, is_closed, records_of,
                       sums_of, total_of, wait_for_ends, wait_for_no_sockets, wait_for_sums)

IPS = ["127.0.0.1", "::1", "::ffff:127.0.0.1"]
MIB = 1 << 20
BIG = 100 * MIB // SCALE
SIZES = [(1, 0), (0, 1), (1, 1), (1447, 65537), (MIB, 3), (BIG, 1), (2, BIG), (BIG // 5, BIG // 7)]


@pytest.mark.parametrize("ip", IPS)
def test_sizes(ip):
    """From 1 byte to 100 MiB, up, down, and both at once."""
    with Namespace() as ns, bytes_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        talks = [Talk(client, server, listener, ip, port).move(*size) for size in SIZES]
        for number, talk in enumerate(talks):
            talk.finish(server_first=number % 2)
        wait_for_ends(agent, *talks)
        records = agent.stop()
        for talk in talks:
            talk.assert_told(records)
        assert {r["netline"]["role"] for r in in_namespace(records, ns)} == {"client", "server"}
        assert all(r["netline"]["srtt_ns"] > 0 for r in in_namespace(records, ns) if r["netline"]["role"] == "client")
    assert_ticks(records)
    assert assert_loss_equation(records, "tcp_bytes")["lost"] == 0 or PREEMPTS_TRACEPOINTS


@pytest.mark.any_way
def test_across_a_link():
    """Each side is told in its own namespace; segments of a link's MTU, and connections that take turns."""
    with Namespace() as ns, Namespace() as other, bytes_agent() as agent:
        veth(ns, other)
        server, client = Puppet(other, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        talks = [Talk(client, server, listener, ip, port) for ip in ("10.77.0.2", "fd77::2", "::ffff:10.77.0.2")]
        for up, down in ((100, 0), (3 * MIB, 5000), (0, 2 * MIB), (17, 19)):
            for talk in talks:
                talk.move(up, down)
        for talk in talks:
            talk.finish()
        wait_for_ends(agent, *talks)
        records = agent.stop()
        for talk in talks:
            talk.assert_told(records)
        assert len({addresses(r) for r in in_namespace(records, ns)}) == 3 == len({addresses(r) for r in in_namespace(records, other)})
    assert_loss_equation(records, "tcp_bytes")


@pytest.mark.any_way
def test_nothing_sent():
    """A walk may come while the kernel closes: the state says that there is a FIN before there is one."""
    with Namespace() as ns, bytes_agent(interval=0.01) as agent:
        Traffic(ns, 20_000 // SCALE**2).run()
        records = agent.stop()
        assert not [r for r in in_namespace(records, ns) if r["source"]["bytes"]]


@pytest.mark.any_way
@pytest.mark.parametrize("connections, max_bytes, shape", [
    (10_000 // SCALE**3, 1 << 16, {"clients": 2, "threads": 4}),
    (400 // SCALE**2, 8 * MIB, {"clients": 1, "threads": 24, "servers": 1}),
], ids=["short", "threads"])
def test_many_connections(connections, max_bytes, shape):
    """Intervals and closes race; many threads of one process at once. Every kind of address, every end."""
    with Namespace() as ns:
        traffic = Traffic(ns, connections, max_bytes=max_bytes, **shape)
        with bytes_agent("--ring-size", "16M") as agent:  # Python reads slowly
            connects, accepts = traffic.run()
            wait_for_no_sockets(ns)
            records = agent.stop()
        assert len(connects) == len(accepts) == connections
        assert_exact(records, ns, connects + accepts)
        assert sum(a.sent for a in connects) == sum(a.received for a in accepts)
        if not PREEMPTS_TRACEPOINTS:
            assert {r["netline"]["role"] for r in in_namespace(records, ns)} == {"client", "server"}
    assert_ticks(records)


@pytest.mark.any_way
def test_idle_intervals():
    """A tick without traffic makes no record of the connection, and the next record begins where its own interval does."""
    with Namespace() as ns, bytes_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        quiet, busy, silent = [Talk(client, server, listener, "127.0.0.1", port) for _ in range(3)]
        for _ in range(3):
            quiet.move(1000, 10)
            wait_for_sums(agent, ns, quiet.connected, quiet.up, quiet.down)
            for _ in range(4):  # ticks with the one and without the other
                busy.move(1, 1)
                wait_for_sums(agent, ns, busy.connected, busy.up, busy.down)
        for talk in (quiet, busy, silent):
            talk.finish()
        wait_for_ends(agent, quiet, busy)
        records = agent.stop()
        for found in quiet.assert_told(records):
            assert sums_of(found[-1:]) == (0, 0), "its end alone"
            assert len(found) <= 3 * 2 + 1, "a transfer may lie on both sides of a tick"
        busy.assert_told(records)
        assert not records_of(records, ns, silent.connected) and not records_of(records, ns, silent.accepted), "it had no traffic"
    assert_ticks(records)


@pytest.mark.any_way
def test_partial_interval_at_the_end():
    """The run ends within the first interval: what moved until then is told, of connections that are open as of those that closed."""
    with Namespace() as ns, bytes_agent(interval="3600") as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        still_open, closed = [Talk(client, server, listener, "127.0.0.1", port).move(5000, 700) for _ in range(2)]
        closed.finish()
        wait_for_ends(agent, closed)
        assert not records_of(agent.records(), ns, still_open.connected)
        records = agent.stop()
        for side in closed.assert_told(records):
            assert len(side) == 1
        for answer, sums in ((still_open.connected, (5000, 700)), (still_open.accepted, (700, 5000))):
            record, = records_of(records, ns, answer)
            assert_story([record])
            assert not is_closed(record) and sums_of([record]) == sums
        starts = {r["event"]["start"] for r in in_namespace(records, ns)}
        assert len(starts) == 1, "the start of the run"
    assert_loss_equation(records, "tcp_bytes")


@pytest.mark.parametrize("ip", IPS)
def test_same_socket_connects_again(ip):
    """The same cookie, the same addresses, and counters that begin again."""
    with Namespace() as ns, bytes_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        first = Talk(client, server, listener, ip, port, local_port=1900).move(100_000, 50)
        client.must("disconnect", first.connected.socket)
        server.close(first.accepted.fd)
        wait_for_ends(agent, first)
        before = len(agent.records())
        second = Talk(client, server, listener, ip, port, fd=first.connected.socket).move(7, 70_000)
        second.finish()
        agent.wait_for(lambda records: second.is_told(records[before:]))
        records = agent.stop()
        assert first.connected.cookie == second.connected.cookie
        assert (first.connected.local_port, second.connected.local_port) == (1900, 1900)
        stories = {"first": [], "second": []}
        for record in records_of(records, ns, first.connected):
            stories["second" if stories["first"] and is_closed(stories["first"][-1]) else "first"].append(record)
        for talk, found in zip((first, second), stories.values()):
            assert_story(found)
            assert is_closed(found[-1]) and sums_of(found) == (talk.up, talk.down)
        assert sums_of(records_of(records, ns, first.accepted)) == (50 + 70_000, 100_000 + 7)
    assert_loss_equation(records, "tcp_bytes")


@pytest.mark.any_way
def test_as_ss_has_it():
    """Of the same socket while it is open."""
    with Namespace() as ns, Namespace() as other, bytes_agent() as agent:
        veth(ns, other)
        server, client = Puppet(other, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        talk = Talk(client, server, listener, "fd77::2", port)
        for _ in range(3):
            talk.move(MIB, 300_000)
            shown = [assert_as_kernel(agent, client, talk.connected, talk.up, talk.down),
                     assert_as_kernel(agent, server, talk.accepted, talk.down, talk.up)]
            assert [side["bytes_sent"] - side["bytes_retrans"] for side in shown] == [talk.up, talk.down]
        talk.finish()
        wait_for_ends(agent, talk)
        for found, side in zip(talk.assert_told(agent.stop()), shown):  # the segments of the end come on top
            assert total_of(found, "segments", "sent") > side["segs_out"]
            assert total_of(found, "segments", "received") > side["segs_in"]
