# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_in: how a packet's way ends, each of the ends caused, and counted as the kernel counts it."""
import contextlib
import errno
import os
import re
import socket

import pytest

from delays_in import (assert_all_stages, assert_ends, assert_reader, delays_agent, echo, end, end_of, ends_of, filter_input, finish, in_namespace, joined,
                       packet_of, receive, send_and_wait, to_port, with_end)
from harness import wait_until
from held import held
from inerrs import TELLS_REASON, TWO_WAYS_THERE, lab
from segments import ACK, PSH, Peek, counters, tcp

pytestmark = pytest.mark.any_way
SOME = 50


def data_to(found, port):
    """The records of packets with data for that port: the others are `processed`."""
    return [r for r in to_port(found, port) if r["netline"]["delay"]["end"] != "processed"]


@pytest.mark.parametrize("ip, over_veth", TWO_WAYS_THERE)
def test_coalesced(ip, over_veth):
    """Small writes that nobody reads yet: what is appended to a packet that waits is told at once, what waits when it is read."""
    with lab(ip, over_veth) as there, delays_agent(ns=there.there) as agent:
        with joined(there) as (client, server):
            for _ in range(SOME):
                send_and_wait(there.here, client, bytes(10))
            coalesced = counters(there.there)["TCPRcvCoalesce"]
            agent.wait_for(lambda records: ends_of(in_namespace(records, there.there))["coalesced"] == coalesced > 0)
            assert not with_end(in_namespace(agent.records(), there.there), "read")
            receive(server, 10 * SOME)
            found, _ = finish_after(agent, there, client, server)
        told = data_to(found, there.port)
        assert_ends(told, there.there, coalesced=coalesced, read=SOME - coalesced)
        assert_all_stages(told)
        for record in with_end(told, "read"):
            assert_reader(record)


def finish_after(agent, there, *sockets):
    for each in sockets:
        each.close()
    return finish(agent, there)


@pytest.mark.parametrize("ip, over_veth", TWO_WAYS_THERE)
def test_backlog(ip, over_veth):
    """What comes while a task has the socket waits, or is appended to what waits. It is read all the same."""
    with lab(ip, over_veth) as there, delays_agent(ns=there.there) as agent:
        connection = there.connect()
        there.client.must("transfer", connection.connected.socket, 1, 0)  # a connection's first data has an unknown end there
        there.server.must("transfer", connection.accepted.fd, 0, 1)
        connection.expected += 1
        with Peek(there.server, connection.accepted.fd) as peek, held(peek.socket):
            for number in range(SOME):
                connection.send(10 * number, flags=ACK | PSH, payload=bytes(10))
        there.server.must("transfer", connection.accepted.fd, 0, 10 * SOME)
        merged = counters(there.there)["TCPBacklogCoalesce"]
        found, _ = end(agent, there)
        told = [r for r in data_to(found, connection.port) if packet_of(r).bytes == (70 if ":" in ip else 50)]
        ends = ends_of(told)
        assert merged > 0 and ends["backlog_coalesced"] == merged, (ends, merged)
        assert len(told) == SOME and set(ends) <= {"backlog_coalesced", "coalesced", "read"} and ends["read"] > 0, ends
        assert_all_stages(told)


@pytest.mark.parametrize("ip, over_veth", TWO_WAYS_THERE)
def test_out_of_order(ip, over_veth):
    """Segments behind a gap are put aside; that which closes it is read, and the others with it."""
    with lab(ip, over_veth) as there, delays_agent(ns=there.there) as agent:
        connection = there.connect()
        sent = [connection.send(10 * number, flags=ACK | PSH, payload=bytes(10)) for number in (1, 2, 9, 5, 4, 3, 7, 8, 6, 0)]
        there.server.must("transfer", connection.accepted.fd, 0, 100)
        assert counters(there.there)["TCPOFOQueue"] == 9
        found, _ = end(agent, there)
        last, = with_end(found, "read")
        assert packet_of(last).seq == sent[-1]["seq"] and last["process"]["pid"] == there.server.pid
        put_aside = with_end(found, "out_of_order")
        assert [packet_of(r).seq for r in put_aside] == [each["seq"] for each in sent[:-1]]
        assert_all_stages(found, ("out_of_order", "read"))


@pytest.mark.parametrize("ip, over_veth", TWO_WAYS_THERE)
def test_ahead_and_refused(ip, over_veth):
    """Beyond the window, or put aside already: dropped. Kernels that do not tell why tell nothing of either, and both look like what is put aside."""
    with lab(ip, over_veth) as there, delays_agent(ns=there.there) as agent:
        connection = there.connect()
        sent = [connection.send(seq, flags=ACK | PSH, payload=bytes(10)) for seq in (10, 1 << 29, 10)]
        found, _ = end(agent, there)
    told = {(packet_of(r).seq, number): end_of(r) for number, r in enumerate(data_to(found, connection.port))}
    refused = "dropped" if TELLS_REASON else "out_of_order"
    assert told == {(sent[0]["seq"], 0): "out_of_order", (sent[1]["seq"], 1): refused, (sent[2]["seq"], 2): refused}


@pytest.mark.parametrize("ip, over_veth", TWO_WAYS_THERE)
def test_lost_before_tcp(ip, over_veth):
    """A lost packet has no record, but that sent again has, and what came in between is out of order, as the kernel counts it."""
    with lab(ip, over_veth) as there, delays_agent(ns=there.there) as agent:
        with joined(there) as (client, server):
            echo(client, server, 5)
            filter_input(there.there, "add counter inet t dropped",
                         f"add rule inet t input tcp dport {there.port} tcp flags & psh == psh numgen inc mod 1000 < 1 counter name dropped drop")
            for _ in range(5):
                client.sendall(bytes(10))
            receive(server, 50)
            found, _ = finish_after(agent, there, client, server)
        counted = counters(there.there)
        assert dropped(there.there) == 1
        told = ends_of(to_port(found, there.port))
        assert told["out_of_order"] == counted["TCPOFOQueue"] > 0 and told["dropped"] == counted["DelayedACKLost"] and not told["unknown"]


def dropped(ns):
    return int(re.search(r"packets (\d+)", ns.run(["nft", "list", "counter", "inet", "t", "dropped"]).stdout)[1])


def test_duplicates():
    """Data that has been received before is dropped; a keepalive has none, and newer kernels say what is wrong with it."""
    with lab() as there, delays_agent(ns=there.there) as agent:
        old, keepalive = there.connect(), there.connect()
        there.client.must("transfer", old.connected.socket, 100, 0)
        there.server.must("transfer", old.accepted.fd, 0, 100)
        sent = [old.send(seq, flags=ACK | PSH, payload=b"x" * size) for seq, size in ((50, 50), (0, 100), (90, 1))]
        probe = keepalive.send(-1)
        found, _ = end(agent, there)
    again = with_end(to_port(found, old.port), "dropped")
    assert [(packet_of(r).seq, packet_of(r).bytes) for r in again] == [(each["seq"], each["bytes"]) for each in sent]
    *_, last = [r for r in to_port(found, keepalive.port) if packet_of(r).seq == probe["seq"]]  # the one before is the SYN
    assert last["netline"]["delay"]["end"] == ("dropped" if TELLS_REASON else "processed")
    assert ends_of(found)["unknown"] == 0


@pytest.mark.parametrize("ip, over_veth", TWO_WAYS_THERE)
def test_refused(ip, over_veth):
    """Where nobody listens: a packet with data is dropped, one without as well if the kernel says why."""
    with lab(ip, over_veth) as there, delays_agent(ns=there.there) as agent:
        for port, payload in ((4001, b""), (4002, b"x")):
            there.sender.send(there.source, ip, tcp(there.source, ip, (port, 1), 7, 0, ACK, payload=payload))
        found, _ = end(agent, there)
    told = {r["source"]["port"]: r["netline"]["delay"]["end"] for r in found if r["destination"]["port"] == 1}
    assert told == {4001: "dropped" if TELLS_REASON else "processed", 4002: "dropped"}


@pytest.mark.parametrize("ip, over_veth", TWO_WAYS_THERE)
def test_dropped_by_netfilter(ip, over_veth):
    """What nft drops at INPUT never comes to TCP: no record, nothing lost, and the packets around it are told."""
    with lab(ip, over_veth) as there, delays_agent(ns=there.there) as agent:
        filter_input(there.there, "add counter inet t dropped", "add rule inet t input tcp dport 1 counter name dropped drop")
        with joined(there) as (client, server):
            for number in range(SOME):
                there.sender.send(there.source, ip, tcp(there.source, ip, (4001, 1), number, 0, ACK, payload=b"x"))
                echo(client, server, 1)
            found, _ = finish_after(agent, there, client, server)
        assert dropped(there.there) == SOME
    assert not to_port(found, 1)
    assert ends_of(to_port(found, there.port))["read"] == SOME


def test_never_read():
    """Data that waits when its socket is closed: nobody has read it."""
    with lab() as there, delays_agent(ns=there.there) as agent:
        with joined(there) as (client, server):
            send_and_wait(there.here, client, bytes(1000))
            told = in_namespace(agent.records(), there.there)
            assert not [r for r in told if packet_of(r).bytes > 1000]
            found, _ = finish_after(agent, there, server, client)
    data, = [r for r in found if packet_of(r).bytes > 1000]
    assert data["netline"]["delay"]["end"] in ("dropped", "unknown")


def test_still_waiting_at_the_end():
    """Data in the receive queue of a socket that is open when netline ends."""
    with lab() as there, delays_agent(ns=there.there) as agent:
        with joined(there) as (client, _):
            send_and_wait(there.here, client, bytes(1000))
            found, _ = end(agent, there)
    data, = [r for r in found if packet_of(r).bytes > 1000]
    assert data["netline"]["delay"]["end"] == "unknown" and "duration" not in data["event"]


def test_peek():
    """MSG_PEEK is the first read; that it is read once more is no news."""
    with lab() as there, delays_agent(ns=there.there) as agent:
        with joined(there) as (client, server):
            client.sendall(bytes(1000))
            wait_until(lambda: len(server.recv(1000, socket.MSG_PEEK)) == 1000, 10, "the data")
            told = agent.wait_for(lambda records: with_end(in_namespace(records, there.there), "read"))
            receive(server, 1000)
            found, _ = finish_after(agent, there, client, server)
    assert_reader(told[0])
    assert with_end(found, "read") == told


def truncate(server):
    assert server.recv(1000, socket.MSG_TRUNC | socket.MSG_WAITALL) is not None


def splice(server):
    reader, writer = os.pipe()
    moved = 0
    while moved < 1000:
        moved += os.splice(server.fileno(), writer, 1000 - moved)
    for fd in (reader, writer):
        os.close(fd)


@pytest.mark.parametrize("take", [truncate, pytest.param(splice, marks=pytest.mark.skipif(not hasattr(os, "splice"), reason="Python has no splice"))])
def test_read_unseen(take):
    """The kernel copies nothing to the process, and tells nothing: the end is unknown, whatever other namespaces do with the same skb."""
    with lab() as there, lab() as other, delays_agent(ns=there.there) as agent:
        with joined(there) as (client, server):
            send_and_wait(there.here, client, bytes(1000))
            take(server)
            with contextlib.suppress(BlockingIOError):
                assert not server.recv(1, socket.MSG_DONTWAIT), errno.EAGAIN
            with joined(other) as elsewhere:
                echo(*elsewhere, 500)
            found, _ = finish_after(agent, there, client, server)
    data, = [r for r in found if packet_of(r).bytes > 1000]
    assert data["netline"]["delay"]["end"] == "unknown"


def test_older_than_netline():
    """A connection that was there before: its packets are told from now on, and what waited before is none of them."""
    with lab() as there, joined(there) as (client, server):
        send_and_wait(there.here, client, bytes(100))
        before = counters(there.there)["InSegs"]
        with delays_agent(ns=there.there) as agent:
            receive(server, 100)
            echo(client, server, SOME)
            found, _ = end(agent, there, before)
    assert ends_of(found)["read"] == 2 * SOME and not ends_of(found)["unknown"]
