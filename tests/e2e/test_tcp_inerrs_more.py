# SPDX-License-Identifier: BSD-2-Clause
"""tcp_inerrs: filters, authentication, listen overflows, and that ordinary traffic is no error."""
import errno
import socket
import struct

import pytest

from harness import SCALE, Namespace, wait_until
from inerrs import (TELLS_REASON, TWO_WAYS_THERE, assert_inerrs_equation, assert_owned, assert_packet, connected_pair, count_of, in_namespace,
                    inerrs_agent, lab, nothing_but_the_last, reasons_of, transfer, wait_for_count)
from puppet import Puppet
from segments import SYN, Connection, Peek, Sender, counters, in_namespace_of, tcp

pytestmark = pytest.mark.any_way
TCP_MD5SIG, TCP_AO_INFO = 14, 40


# --- filters ---


@pytest.mark.parametrize("arguments, wanted", [
    (["--pid", "{server}"], {"owned 4", "owned 6", "socketless 4"}),
    (["--pid", "{client}"], set()),
    (["--port", "{port}"], {"owned 4", "socketless 4"}),
    (["-4"], {"owned 4", "socketless 4", "nobody's 4"}),
    (["-6", "--pid", "{server}"], {"owned 6"}),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_filters(arguments, wanted):
    """They are evaluated in the kernel, and what they refuse is counted. `socketless`: its owner is known by its addresses only."""
    with Namespace() as ns, Sender(ns) as sender:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        four, six = Connection(sender, server, client, "127.0.0.1"), Connection(sender, server, client, "::1")
        with inerrs_agent(*(word.format(server=server.pid, client=client.pid, port=four.port) for word in arguments)) as agent:
            four.send(10, flags=SYN)
            six.send(10, flags=SYN)
            four.send(good=False)
            sender.send("127.0.0.1", "127.0.0.1", tcp("127.0.0.1", "127.0.0.1", (4001, 1), 7, 0, SYN))
            if wanted:
                wait_for_count(agent, ns, len(wanted))
            records = agent.stop()
        kinds = {"syn_in_window": "owned", "bad_checksum": "socketless", "no_socket": "nobody's"}
        found = [f"{kinds[r['event']['reason']]} {r['network']['type'][-1]}" for r in in_namespace(records, ns)]
    assert sorted(found) == sorted(wanted)
    assert assert_inerrs_equation(records)["filtered"] >= 4 - len(wanted)


# --- authentication ---


def md5_key(address, port):
    packed = struct.pack("=HH4s120x", socket.AF_INET, 0, socket.inet_aton(address))
    return packed + struct.pack("=BBHI80s", 0, 0, 6, 0, b"secret")


MD5_OPTION = bytes([1, 1, 19, 18]) + bytes(16)
AO_OPTION = bytes([29, 16, 1, 1]) + bytes(12)


@pytest.mark.skipif(not TELLS_REASON, reason="before 5.19 this is not looked for")
def test_md5():
    """An unasked signature, a missing one, a wrong one."""
    with lab() as there, inerrs_agent() as agent:
        unsigned, missing, wrong = there.connect(), there.connect(), there.connect()
        for connection in (missing, wrong):
            with Peek(there.server, connection.accepted.fd) as peek:
                try:
                    peek.socket.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, md5_key(*connection.source))
                except OSError as error:
                    assert error.errno in (errno.ENOPROTOOPT, errno.EOPNOTSUPP), error
                    pytest.skip("this kernel has no TCP MD5 signatures")
        sent = [unsigned.send(options=MD5_OPTION), missing.send(), wrong.send(options=MD5_OPTION)]
        wait_for_count(agent, there.there, 3)
        found = in_namespace(agent.stop(), there.there)
        for record, connection, told, name in zip(found, (unsigned, missing, wrong), sent, ("UNEXPECTED", "NOTFOUND", "FAILURE")):
            assert_packet(record, there, connection, "md5", told, f"TCP_MD5{name}")
            assert_owned(record, there)
        assert len(found) == 3


def test_ao():
    with lab() as there, inerrs_agent() as agent:
        connection = there.connect()
        with Peek(there.server, connection.accepted.fd) as peek:
            try:
                peek.socket.getsockopt(socket.IPPROTO_TCP, TCP_AO_INFO, 64)
            except OSError as error:
                if error.errno == errno.ENOPROTOOPT:
                    pytest.skip("this kernel has no TCP-AO")
        connection.send(options=AO_OPTION)
        wait_for_count(agent, there.there, 1)
        record, = in_namespace(agent.stop(), there.there)
        assert (record["event"]["reason"], record["netline"]["inerr"]["class"]) == ("ao", "authentication")
        assert record["netline"]["inerr"]["kernel_reason"].startswith("TCP_AO")
        assert_owned(record, there)


# --- listen overflows ---


def test_listen_overflow():
    """As many as the kernel has counted in netline's own namespace, with or without an event for each."""
    with lab() as there, inerrs_agent(ns=there.there) as agent:
        _, port = there.server.listen(4, backlog=1)
        connecting = [there.client.connect("127.0.0.1", port, fd=there.client.socket(4, nonblock=True)) for _ in range(6)]
        wait_until(lambda: counters(there.there)["ListenOverflows"] >= 4, 10, "overflows")
        for answer in connecting:  # so that they do not try again
            there.client.close(answer.socket)
        overflows = counters(there.there)["ListenOverflows"]
        wait_for_count(agent, there.there, overflows)
        found = in_namespace(agent.stop(), there.there)
    assert set(reasons_of(found)) == {"listen_overflow"} and {r["netline"]["inerr"]["class"] for r in found} == {"resource"}
    assert count_of(found) == overflows
    counted_only = [r for r in found if "kernel_reason" not in r["netline"]["inerr"]]
    assert counted_only and all(not {"source", "destination", "process"} & r.keys() and "type" not in r["network"] for r in counted_only)


# --- ordinary traffic ---


@pytest.mark.parametrize("ip, over_veth", TWO_WAYS_THERE)
def test_bulk_and_clean_close(ip, over_veth):
    with lab(ip, over_veth) as there, inerrs_agent() as agent:
        client, server = connected_pair(there.here, there.there, ip)
        with client, server:
            transfer(client, server, (20 << 20) // SCALE)
            transfer(server, client, (20 << 20) // SCALE)
            client.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b""
        nothing_but_the_last(agent, there)


def test_lossy_transfer():
    """Every 20th packet is dropped on its way in: what is sent again is no error, nor what overtakes it."""
    with lab("10.77.0.2", True) as there, inerrs_agent() as agent:
        there.there.run(["nft", "add table ip lossy; add chain ip lossy in { type filter hook prerouting priority 0; }; "
                                "add rule ip lossy in meta l4proto tcp numgen inc mod 20 7 drop"])
        client, server = connected_pair(there.here, there.there, there.ip)
        with client, server:
            transfer(client, server, (4 << 20) // SCALE)
        assert counters(there.here)["RetransSegs"] > 0
        there.there.run(["nft", "delete table ip lossy"])  # the last one is to come through
        nothing_but_the_last(agent, there)


def test_keepalives():
    with lab() as there, inerrs_agent() as agent:
        client, server = connected_pair(there.here, there.there, there.ip)
        with client, server:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            wait_until(lambda: counters(there.here)["TCPKeepAlive"] >= 2, 10, "keepalives")
        nothing_but_the_last(agent, there)


def test_time_wait_is_used_again():
    """A new connection with the addresses of one in TIME_WAIT."""
    with lab() as there, inerrs_agent() as agent, in_namespace_of(there.there, lambda: socket.create_server(("127.0.0.1", 0))) as listener:
        for _ in range(2):
            client = in_namespace_of(there.here, lambda: socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("127.0.0.1", 4100))
            client.connect(listener.getsockname())
            server, _ = listener.accept()
            server.close()
            assert client.recv(1) == b""
            client.close()
            wait_until(lambda: "TIME-WAIT" in there.there.run(["ss", "-tanH"]).stdout, 10, "TIME-WAIT")
        nothing_but_the_last(agent, there)
