# SPDX-License-Identifier: BSD-2-Clause
"""tcp_inerrs: bad segments for sockets that are not, or no longer, simply established; and what only looks like a bad segment."""
import pytest

from harness import KERNEL, wait_until
from inerrs import (assert_owned, assert_packet, assert_socket, in_namespace, inerrs_agent, lab, reasons_of, wait_for_count)
from segments import ACK, PSH, RST, SYN, Peek, tcp

pytestmark = pytest.mark.any_way
FAR = 1 << 24
TELLS_LATE_IN_TIME_WAIT = KERNEL >= (6, 15)
NOBODY = "10.77.0.9"  # an address on the link from which no answer comes


@pytest.mark.parametrize("ip, over_veth, state, closer", [("127.0.0.1", False, "CLOSE_WAIT", "client"), ("fd77::2", True, "FIN_WAIT2", "server")])
def test_half_closed(ip, over_veth, state, closer):
    with lab(ip, over_veth) as there, inerrs_agent() as agent:
        connection = there.connect()
        if closer == "client":
            there.client.must("shutdown", connection.connected.socket, "write")
        else:
            there.server.must("shutdown", connection.accepted.fd, "write")
        with Peek(there.server, connection.accepted.fd) as peek:
            wait_until(lambda: peek.state == state, 10, state)
            connection.expected, connection.sent = peek.expected, peek.sent
        sent = [connection.send(flags=PSH, payload=b"x"), connection.send(FAR, flags=ACK | PSH, payload=b"x"), connection.send(10, flags=SYN),
                connection.send(10, flags=RST), connection.send(ack=1000), connection.send(payload=bytes(100), good=False)]
        wait_for_count(agent, there.there, len(sent))
        found = in_namespace(agent.stop(), there.there)
        reasons = [("bad_flags", "TCP_FLAGS"), ("out_of_window", "TCP_INVALID_SEQUENCE"), ("syn_in_window", "TCP_INVALID_SYN"),
                   ("rst_in_window", "TCP_RESET"), ("invalid_ack", "TCP_ACK_UNSENT_DATA"), ("bad_checksum", "TCP_CSUM")]
        for record, (reason, kernel_reason), told in zip(found, reasons, sent):
            assert_packet(record, there, connection, reason, told, kernel_reason)
            assert_socket(record, there, connection, state)
        assert len(found) == len(sent)


def test_request():
    """A handshake's third segment is missing: the socket is a request, whose owner is the listener's."""
    with lab("10.77.0.2", True) as there, inerrs_agent() as agent:
        there.there.run(["ip", "neigh", "add", NOBODY, "lladdr", "02:00:00:00:00:09", "dev", there.interface, "nud", "permanent"])
        _, port = there.server.listen(4)
        there.sender.send(NOBODY, there.ip, tcp(NOBODY, there.ip, (4001, port), 7, 0, SYN))
        wait_until(lambda: "SYN-RECV" in there.there.run(["ss", "-tanH"]).stdout, 10, "SYN-RECV")
        there.sender.send(NOBODY, there.ip, tcp(NOBODY, there.ip, (4001, port), 8, 9, ACK, good=False))
        record, = wait_for_count(agent, there.there, 1)
        agent.stop()
        assert record["event"]["reason"] == "bad_checksum"
        assert record["netline"]["tcp"]["state"] == "SYN_RECV" and "expected_seq" not in record["netline"]["tcp"]
        assert_owned(record, there)


def test_connection_that_is_taken_back():
    """A SYN, and a RST instead of the handshake's end: the sender's kernel knows nothing of a connection."""
    with lab("10.77.0.2", True) as there, inerrs_agent() as agent:
        _, port = there.server.listen(4)
        there.sender.send(there.source, there.ip, tcp(there.source, there.ip, (4001, port), 7, 0, SYN))
        answer, = wait_for_count(agent, there.here, 1)
        there.sender.send(there.source, there.ip, tcp(there.source, there.ip, (4002, 1), 7, 0, SYN))
        wait_for_count(agent, there.there, 1)
        records = agent.stop()
        assert answer["event"]["reason"] == "no_socket" and answer["netline"]["tcp"]["flags"] == "ACK|SYN"
        assert [r["source"]["port"] for r in in_namespace(records, there.there)] == [4002]


def test_listener_at_another_address():
    """The port is taken, but not at the address that the packet was sent to: nobody's packet."""
    with lab() as there, inerrs_agent() as agent:
        fd = there.server.socket(4, port=0, ip="127.0.0.2")
        port = there.server.must("listen", fd, 1).local_port
        for ip in "127.0.0.1", "127.0.0.2":
            there.sender.send(ip, ip, tcp(ip, ip, (4001, port), 7, 0, SYN, good=False))
        other, own = wait_for_count(agent, there.there, 2)
        agent.stop()
        assert reasons_of([other, own]) == ["bad_checksum"] * 2
        assert "process" not in other and "state" not in other["netline"]["tcp"]
        assert_owned(own, there)


@pytest.mark.parametrize("duplicates", [False, True])
def test_what_comes_late(duplicates):
    """Data that was sent again meanwhile, and ACKs that others have overtaken: their timestamps are older than the last one."""
    with lab() as there, inerrs_agent(*(["--duplicates"] if duplicates else []), ns=there.there) as agent:
        sent = []
        for numbers in {"seq": -50, "payload": b"x" * 50}, {"seq": -50}, {"ack": -50}:
            late = there.connect()
            there.client.must("send", late.connected.socket, "x" * 100)
            there.server.must("send", late.accepted.fd, "x" * 100)
            late.expected, late.sent = late.expected + 100, late.sent + 100
            with Peek(there.server, late.accepted.fd) as peek:
                wait_until(lambda: peek.unacknowledged == 0, 10, "an ACK of everything")
            sent.append(late.send(**numbers, late=True))
        last = there.connect()
        last.send(10, flags=SYN)
        wait_for_count(agent, there.there, 4 if duplicates else 1)
        found = in_namespace(agent.stop(), there.there)
        assert reasons_of(found) == (["old_data"] * 3 if duplicates else []) + ["syn_in_window"]
        for record, told in zip(found[:-1], sent):
            assert record["netline"]["tcp"]["seq"] == told["seq"]
            assert record["netline"]["inerr"].get("kernel_reason", "TCP_RFC7323_PAWS").startswith("TCP_RFC7323_PAWS")


LATE_IN_TIME_WAIT = [  # sequence number (1: after the client's FIN), acknowledgement (1: of the server's FIN), payload; and what it is
    (0, 0, b"", "old_data"),  # the FIN has overtaken it
    (1, 0, b"", "old_data"),  # both have closed at once: the ACK of the server's FIN has overtaken it
    (1, 1, b"", "old_data"),  # the FIN came twice, and so did its ACK
    (1, 2, b"", "paws"),      # of what was never sent
    (1, 1, b"x", "paws"),     # follows the FIN
]


@pytest.mark.parametrize("duplicates", [False, True])
def test_what_comes_late_in_time_wait(duplicates):
    """An ACK that a later one or the FIN has overtaken is a duplicate; what else comes with a timestamp from before the FIN is not."""
    with lab("10.77.0.2", True) as there, inerrs_agent(*(["--duplicates"] if duplicates else []), ns=there.there) as agent:
        expected = []
        for seq, ack, payload, reason in LATE_IN_TIME_WAIT:
            connection = there.connect()
            there.server.close(connection.accepted.fd)
            there.client.must("shutdown", connection.connected.socket, "write")
            pattern = f"{connection.source[0]}:{connection.source[1]}"
            wait_until(lambda: pattern in there.there.run(["ss", "-tanH", "state", "time-wait"]).stdout, 10, "TIME_WAIT")
            sent = connection.send(seq, ack, late=True, payload=payload)
            if TELLS_LATE_IN_TIME_WAIT and (duplicates or reason == "paws"):
                expected.append((reason, sent))
        there.connect().send(10, flags=SYN)
        wait_for_count(agent, there.there, len(expected) + 1)
        found = in_namespace(agent.stop(), there.there)
        assert reasons_of(found) == [reason for reason, _ in expected] + ["syn_in_window"]
        for record, (_, told) in zip(found, expected):
            assert record["netline"]["inerr"]["kernel_reason"] == "TCP_RFC7323_TW_PAWS"
            assert (record["netline"]["tcp"]["seq"], record["netline"]["tcp"]["state"]) == (told["seq"], "TIME_WAIT")
