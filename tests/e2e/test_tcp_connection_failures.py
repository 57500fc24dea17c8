# SPDX-License-Identifier: BSD-2-Clause
"""tcp_connection: connects that fail. One record each, with the reason and the owner."""
import os
import signal

import pytest

from connections import (CLOCK_TOLERANCE, addresses, assert_connected, assert_failed, assert_within, by_cookie, in_namespace,
                         link_to_nowhere, plain, tcp_agent, timestamp, wait_for_cookie)
from harness import Namespace, assert_loss_equation, blocked_in, veth, wait_until
from puppet import Puppet

pytestmark = pytest.mark.any_way


def assert_one_record(agent, ns, failed, reason, client, end_real=None):
    """Ends netline; the socket has this one record. `end_real`: when it failed at the latest, if not when connect returned."""
    record = wait_for_cookie(agent, ns, failed)
    records = agent.stop()
    assert by_cookie(records, ns, failed) == in_namespace(records, ns) == [record]
    assert_failed(record, failed, reason, client.pid, client.name)
    assert_within(timestamp(record), failed.start_real, end_real or failed.end_real)
    assert record["event"]["duration"] <= (end_real or failed.end_real) - failed.start_real + CLOCK_TOLERANCE
    assert_loss_equation(records, "tcp_connection")
    return record


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_refused(ip):
    with Namespace() as ns, tcp_agent() as agent:
        client = Puppet(ns, "client")
        failed = client.connect(ip, 81, local_port=1901)
        assert failed.errno == "ECONNREFUSED"
        record = assert_one_record(agent, ns, failed, "econnrefused", client)
        assert addresses(record) == (plain(ip), 1901, plain(ip), 81)
        assert record["event"]["duration"] <= failed.end - failed.start
        assert record["network"] == {"type": "ipv6" if ip == "::1" else "ipv4", "transport": "tcp", "direction": "egress"}


@pytest.mark.parametrize("source, ip", [("10.78.0.1", "10.78.0.2"), ("fd78::1", "fd78::2"), ("10.78.0.1", "::ffff:10.78.0.2")])
def test_timed_out(source, ip):
    with Namespace() as ns, tcp_agent() as agent:
        link_to_nowhere(ns)
        client = Puppet(ns, "client")
        fd = client.socket(6 if ":" in ip else 4, port=1902)
        client.must("option", fd, "user_timeout", 100)
        failed = client.connect(ip, 82, fd=fd)
        assert failed.errno == "ETIMEDOUT"
        record = assert_one_record(agent, ns, failed, "etimedout", client)
        assert addresses(record) == (source, 1902, plain(ip), 82)
        assert 100_000_000 <= record["event"]["duration"] <= failed.end - failed.start


@pytest.mark.parametrize("source, ip", [("10.78.0.1", "10.78.0.3"), ("fd78::1", "fd78::3")])
def test_host_unreachable(source, ip):
    """Nobody answers to ARP, or to neighbour discovery."""
    with Namespace() as ns, tcp_agent() as agent:
        link_to_nowhere(ns)
        client = Puppet(ns, "client")
        failed = client.connect(ip, 83, local_port=1903)
        assert failed.errno == "EHOSTUNREACH"
        record = assert_one_record(agent, ns, failed, "ehostunreach", client)
        assert addresses(record) == (source, 1903, ip, 83)
        assert record["event"]["duration"] <= failed.end - failed.start


def test_no_route_makes_no_record():
    """The kernel tells of no event: the socket never leaves CLOSE."""
    with Namespace() as ns, tcp_agent() as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        failed = client.connect("192.0.2.1", 80)
        assert failed.errno == "ENETUNREACH"
        _, port = server.listen(4)
        wait_for_cookie(agent, ns, client.connect("127.0.0.1", port))
        records = agent.stop()
        assert not by_cookie(records, ns, failed)


@pytest.mark.parametrize("how", ["close", "linger0", "disconnect"])
@pytest.mark.parametrize("ip", ["10.78.0.2", "fd78::2"])
def test_given_up_while_connecting(ip, how):
    with Namespace() as ns, tcp_agent() as agent:
        link_to_nowhere(ns)
        client = Puppet(ns, "client")
        connecting = client.connect(ip, 84, fd=client.socket(6 if ":" in ip else 4, nonblock=True))
        assert connecting.errno == "EINPROGRESS"
        if how == "linger0":
            client.must("linger0", connecting.socket)
        given_up = client.must("disconnect" if how == "disconnect" else "close", connecting.socket)
        record = assert_one_record(agent, ns, connecting, "aborted", client, given_up.end_real)
        assert_within(timestamp(record), given_up.start_real, given_up.end_real)
        assert given_up.start - connecting.end <= record["event"]["duration"] <= given_up.end - connecting.start
        assert addresses(record) == (connecting.local, connecting.local_port, ip, 84)


def test_killed_while_connecting():
    with Namespace() as ns, tcp_agent() as agent:
        link_to_nowhere(ns)
        client = Puppet(ns, "client")
        fd = client.socket(4)
        client.order("connect", fd, "10.78.0.2", 85)
        wait_until(lambda: blocked_in(client.pid, "connect"), 10, "connect to block")
        os.kill(client.pid, signal.SIGKILL)
        record = agent.wait_for(lambda records: in_namespace(records, ns))[0]
        records = agent.stop()
        assert in_namespace(records, ns) == [record]
        assert (record["event"]["outcome"], record["event"]["reason"]) == ("failure", "aborted")
        assert record["process"] == {"pid": client.pid, "name": "client", "thread": {"id": client.pid, "name": "client"}}


def test_ports_exhausted():
    """connect() says EADDRNOTAVAIL; to the kernel's event it is a socket that went from SYN_SENT to CLOSE without an error."""
    with Namespace() as ns, tcp_agent() as agent:
        ns.sysctl("net.ipv4.ip_local_port_range", "40000 40001")
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        _, port = server.listen(4, 80)
        connected = []
        while (answer := client.connect("127.0.0.1", port)).result == 0:
            connected.append(answer)
            assert len(connected) <= 2
        assert answer.errno == "EADDRNOTAVAIL" and len(connected) == 2
        record = wait_for_cookie(agent, ns, answer)
        records = agent.stop()
        assert by_cookie(records, ns, answer) == [record]
        assert_failed(record, answer, "aborted", client.pid, "client")
        assert record["destination"] == {"ip": "127.0.0.1", "port": 80}
        assert record["source"] == {"ip": "127.0.0.1"}, "it never had a port"
        for one in connected:
            connect, = by_cookie(records, ns, one)
            assert_connected(connect, one, client.pid, "client")


def test_reset_while_connecting_across_a_link():
    """The same as refused, but the RST comes from another namespace: its side makes no record."""
    with Namespace() as ns, Namespace() as other, tcp_agent() as agent:
        veth(ns, other)
        client = Puppet(ns, "client")
        failed = client.connect("fd77::2", 86, local_port=1906)
        assert failed.errno == "ECONNREFUSED"
        record = assert_one_record(agent, ns, failed, "econnrefused", client)
        assert addresses(record) == ("fd77::1", 1906, "fd77::2", 86)
        assert not in_namespace(agent.records(), other)
