# SPDX-License-Identifier: BSD-2-Clause
"""tcp_inerrs: segments made by hand, of every reason that can be caused, against connections whose state is known."""
import contextlib
import socket

import pytest

from harness import KERNEL, wait_until
from held import held
from inerrs import (OLD_SEQUENCE, TELLS_REASON, TWO_WAYS_THERE, WAYS_THERE, assert_inerrs_equation, assert_owned, assert_packet, assert_socket, count_of,
                    in_namespace, inerrs_agent, lab, reasons_of, wait_for_count)
from segments import ACK, FIN, OLD, PSH, RST, SYN, Peek, counters, tcp

FAR = 1 << 24  # beyond any window here

# (reason, the kernel's name, which of two connections, what Connection.send() is to send)
SEGMENTS = [
    ("bad_checksum", "TCP_CSUM", 0, {"payload": b"x", "good": False}),
    ("bad_checksum", "TCP_CSUM", 1, {"payload": bytes(100), "good": False}),  # of a longer one the kernel knows when it has the socket
    ("header_too_short", "NOT_SPECIFIED", 0, {"cut": 8}),
    ("bad_data_offset", "PKT_TOO_SMALL", 0, {"data_offset": 4}),
    ("bad_data_offset", "NOT_SPECIFIED", 1, {"data_offset": 15}),
    ("bad_flags", "TCP_FLAGS", 0, {"flags": PSH, "payload": b"x"}),
    ("out_of_window", "TCP_INVALID_SEQUENCE", 0, {"seq": FAR, "flags": ACK | PSH, "payload": b"x"}),
    ("paws", "TCP_RFC7323_PAWS", 0, {"flags": ACK | PSH, "payload": b"x", "late": True}),
    ("syn_in_window", "TCP_INVALID_SYN", 0, {"seq": 10, "flags": SYN}),
    ("rst_out_of_window", "TCP_INVALID_SEQUENCE", 0, {"seq": FAR, "flags": RST}),
    ("rst_out_of_window", OLD_SEQUENCE, 1, {"seq": -FAR, "flags": RST}),
    ("rst_in_window", "TCP_RESET", 0, {"seq": 10, "flags": RST}),
    ("invalid_ack", "TCP_ACK_UNSENT_DATA", 0, {"ack": 1000}),
    ("invalid_ack", "TCP_TOO_OLD_ACK", 1, {"ack": OLD}),
]


@pytest.mark.parametrize("ip, over_veth", WAYS_THERE)
def test_each_reason(ip, over_veth):
    """One record each, with the socket's state and owner; what counters the kernel has agree."""
    with lab(ip, over_veth) as there, inerrs_agent() as agent:
        connections = [there.connect(), there.connect()]
        before, sent = counters(there.there), []
        for reason, kernel_reason, number, segment in SEGMENTS:
            told = connections[number].send(**segment)
            sent.append((reason, kernel_reason, connections[number], told))
        wait_for_count(agent, there.there, len(sent))
        after = counters(there.there)
        records = agent.stop()
        found = in_namespace(records, there.there)
        assert reasons_of(found) == [reason for reason, *_ in sent]
        for record, (reason, kernel_reason, connection, told) in zip(found, sent):
            assert_packet(record, there, connection, reason, told, kernel_reason)
            assert_socket(record, there, connection)
    assert after["InCsumErrors"] - before["InCsumErrors"] == 2
    assert after["InErrs"] - before["InErrs"] == 4, "bad checksums, data offset below 5, SYN in the window"
    counted = assert_inerrs_equation(records)
    assert counted["lost"] == 0


@pytest.mark.parametrize("ip, over_veth", TWO_WAYS_THERE)
def test_no_socket(ip, over_veth):
    """A SYN for a port where nobody listens, an ACK of no connection. The host's own RST that answers is no bad packet."""
    with lab(ip, over_veth) as there, inerrs_agent() as agent:
        for port, flags in ((4001, SYN), (4002, ACK), (4003, FIN)):
            there.sender.send(there.source, ip, tcp(there.source, ip, (port, 1), 7, 0, flags))
        refused = there.client.connect(ip, 1)
        assert refused.errno == "ECONNREFUSED"
        wait_for_count(agent, there.there, 4)
        found = in_namespace(agent.stop(), there.there)
        assert reasons_of(found) == ["no_socket"] * 4
        assert [r["source"]["port"] for r in found[:3]] == [4001, 4002, 4003]
        for record in found:
            assert "process" not in record and "state" not in record["netline"]["tcp"] and "cookie" not in record["netline"]["socket"]
            assert record["destination"] == {"ip": ip, "port": 1} and record["network"]["interface"] == {"name": there.interface}


@pytest.mark.any_way
def test_listener():
    """What is for a listener, and no SYN: it has an owner, but expects no number. (Before 5.19 a RST for it is not looked for, and older kernels give no reason for an ACK.)"""
    segments = {"bad_checksum": {"flags": SYN, "good": False}, "bad_flags": {"flags": 0}, **({"rst_out_of_window": {"flags": RST}} if TELLS_REASON else {}),
                **({"invalid_ack": {"flags": ACK}} if KERNEL >= (6, 12) else {})}
    with lab() as there, inerrs_agent() as agent:
        _, port = there.server.listen(4)
        for source, segment in enumerate(segments.values(), 4001):
            there.sender.send(there.ip, there.ip, tcp(there.ip, there.ip, (source, port), 7, 0, **segment))
        wait_for_count(agent, there.there, len(segments))
        found = in_namespace(agent.stop(), there.there)
        assert reasons_of(found) == list(segments)
        for record in found:
            assert_owned(record, there)
            assert record["netline"]["tcp"]["state"] == "LISTEN" and not {"expected_seq", "window"} & record["netline"]["tcp"].keys()


@pytest.mark.any_way
def test_unaccepted_connection_has_no_owner():
    with lab() as there, inerrs_agent() as agent:
        connection = there.connect(accept=False)
        there.sender.send(there.ip, there.ip, tcp(there.ip, there.ip, (connection.source[1], connection.port), 7, 0, good=False))
        record, = wait_for_count(agent, there.there, 1)
        agent.stop()
        assert record["event"]["reason"] == "bad_checksum" and "process" not in record
        assert record["netline"]["tcp"]["state"] == "ESTABLISHED"


@pytest.mark.any_way
def test_connection_older_than_netline():
    """Its owner is known, but not which of its threads."""
    with lab() as there:
        connection = there.connect()
        with inerrs_agent() as agent:
            connection.send(good=False)
            connection.send(10, flags=SYN)
            wait_for_count(agent, there.there, 2)
            found = in_namespace(agent.stop(), there.there)
        assert reasons_of(found) == ["bad_checksum", "syn_in_window"]
        assert [r["process"] for r in found] == [{"pid": there.server.pid, "name": "server"}] * 2
        assert all(r["netline"]["tcp"]["expected_seq"] == connection.expected for r in found)


@pytest.mark.any_way
def test_mapped_addresses_are_ipv4():
    """A socket of the other family, and the packet is IPv4 all the same."""
    with lab("::ffff:127.0.0.1") as there, inerrs_agent() as agent:
        connection = there.connect()
        there.ip = "127.0.0.1"
        sent = [connection.send(good=False), connection.send(10, flags=RST)]
        wait_for_count(agent, there.there, 2)
        found = in_namespace(agent.stop(), there.there)
        for record, (reason, kernel_reason), told in zip(found, (("bad_checksum", "TCP_CSUM"), ("rst_in_window", "TCP_RESET")), sent):
            assert_packet(record, there, connection, reason, told, kernel_reason)
            assert_socket(record, there, connection)


@pytest.mark.any_way
@pytest.mark.parametrize("duplicates", [False, True])
def test_duplicates(duplicates):
    """Old data and keepalives are no errors, but on request. The last packet shows that those before have been seen."""
    with lab() as there, inerrs_agent(*(["--duplicates"] if duplicates else []), ns=there.there) as agent:
        old, keepalive, last = there.connect(), there.connect(), there.connect()
        there.client.must("send", old.connected.socket, "x" * 100)
        old.expected += 100
        old_sent = old.send(-50, flags=ACK | PSH, payload=b"x" * 50)
        keepalive_sent = keepalive.send(-1)
        last.send(10, flags=SYN)
        wait_for_count(agent, there.there, 3 if duplicates else 1)
        found = in_namespace(agent.stop(), there.there)
        assert reasons_of(found) == (["old_data"] * 2 if duplicates else []) + ["syn_in_window"]
        if duplicates:
            assert_packet(found[0], there, old, "old_data", old_sent, "TCP_OLD_DATA")
            assert_packet(found[1], there, keepalive, "old_data", keepalive_sent, OLD_SEQUENCE)
            assert_socket(found[1], there, keepalive)


def send_some(sock):
    """Whether there was room for it."""
    with contextlib.suppress(BlockingIOError):
        return sock.send(bytes(65536))


@pytest.mark.any_way
def test_zero_window():
    """Data for a socket that has said that it takes none. What the client's kernel does meanwhile is no error."""
    with lab() as there, inerrs_agent(ns=there.there) as agent:
        connection = there.connect()
        with Peek(there.client, connection.connected.socket) as client:
            client.socket.setblocking(False)
            wait_until(lambda: not send_some(client.socket) and counters(there.there)["TCPToZeroWindowAdv"], 10, "a window of 0")
        with Peek(there.server, connection.accepted.fd) as peek:
            connection.expected = peek.expected
        sent = connection.send(flags=ACK | PSH, payload=b"x")
        wait_for_count(agent, there.there, 1)
        record, = in_namespace(agent.stop(), there.there)
        if KERNEL >= (6, 17):  # the kernel says what comes first: it ends beyond the window
            assert_packet(record, there, connection, "out_of_window", sent, "TCP_INVALID_END_SEQUENCE")
        else:
            assert_packet(record, there, connection, "receive_buffer", sent, "TCP_ZEROWINDOW")
        assert record["netline"]["tcp"]["window"] == 0
        assert_owned(record, there)


@pytest.mark.any_way
@pytest.mark.skipif(not TELLS_REASON, reason="before 5.19 this is not looked for")
def test_receive_buffer():
    """A window that was promised, and no memory for it."""
    with lab() as there, inerrs_agent(ns=there.there) as agent:
        connection = there.connect()
        with Peek(there.server, connection.accepted.fd) as peek, Peek(there.client, connection.connected.socket) as client:
            connection.expected += client.socket.send(bytes(20000))
            wait_until(lambda: peek.expected == connection.expected % 2**32, 10, "the data to be there")
            peek.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sent = connection.send(flags=ACK | PSH, payload=b"x")
        wait_for_count(agent, there.there, 1)
        record, = in_namespace(agent.stop(), there.there)
        assert_packet(record, there, connection, "receive_buffer", sent, "PROTO_MEM")
        assert_owned(record, there)


@pytest.mark.any_way
@pytest.mark.skipif(not TELLS_REASON, reason="before 5.19 this is not looked for")
def test_backlog():
    """More than may wait while a task has the socket. What does wait is old, so that it is no error later."""
    with lab() as there, inerrs_agent(ns=there.there) as agent:
        connection = there.connect()
        with Peek(there.server, connection.accepted.fd) as peek:
            peek.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            peek.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            with held(peek.socket):
                for _ in range(200):
                    sent = connection.send(-1000, flags=ACK | PSH, payload=bytes(1000))
        dropped = counters(there.there)["TCPBacklogDrop"]
        found = wait_for_count(agent, there.there, dropped)
        agent.stop()
        assert 0 < dropped == count_of(found) and set(reasons_of(found)) == {"backlog"}
        assert_packet(found[0], there, connection, "backlog", sent, "SOCKET_BACKLOG")
        assert_owned(found[0], there)
