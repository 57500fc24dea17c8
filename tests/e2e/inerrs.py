# SPDX-License-Identifier: BSD-2-Clause
"""Holds tcp_inerrs records against the segments that a test has sent."""
import contextlib
import select
import socket

from harness import KERNEL, Agent, Namespace, assert_loss_equation, of_dataset, veth
from puppet import Puppet
from segments import SYN, Connection, Sender, in_namespace_of, tcp

# Since 5.19 the kernel says why TCP drops a packet; before, netline looks for itself, and there is no name for it.
TELLS_REASON = KERNEL >= (5, 19)
OLD_SEQUENCE = "TCP_OLD_SEQUENCE" if KERNEL >= (6, 6) else "TCP_INVALID_SEQUENCE"
CLASSES = {
    "malformed": ["bad_checksum", "header_too_short", "bad_data_offset", "bad_flags"],
    "out_of_window": ["out_of_window", "old_data", "paws", "syn_in_window", "rst_out_of_window", "rst_in_window", "invalid_ack"],
    "authentication": ["md5", "ao"],
    "no_socket": ["no_socket"],
    "resource": ["receive_buffer", "backlog", "listen_overflow"],
    "other": ["other"],
}
CLASS_OF = {reason: name for name, reasons in CLASSES.items() for reason in reasons}
WAYS_THERE = [("127.0.0.1", False), ("::1", False), ("10.77.0.2", True), ("fd77::2", True)]  # address of the server, and whether over veth
TWO_WAYS_THERE = [WAYS_THERE[0], WAYS_THERE[3]]


def inerrs_agent(*args, **kw):
    return Agent(*args, "tcp_inerrs", **kw)


def in_namespace(records, ns):
    return [r for r in of_dataset(records, "tcp_inerrs") if r["netline"].get("socket", {}).get("netns") == str(ns.inum)]


def count_of(records):
    return sum(r["netline"]["inerr"]["count"] for r in records)


def wait_for_count(agent, ns, n, timeout=10):
    """Waits until the namespace's records stand for n packets; returns them."""
    return agent.wait_for(lambda records: count_of(found := in_namespace(records, ns)) >= n and found, timeout)


def reasons_of(records):
    return [r["event"]["reason"] for r in records]


def assert_inerrs_equation(records):
    return assert_loss_equation(records, "tcp_inerrs")


class Lab:
    """Two puppets and a sender beside the client, on loopback or on both ends of a veth link."""

    def __init__(self, stack, ip, over_veth):
        self.ip = ip
        self.there = stack.enter_context(Namespace())
        self.here = stack.enter_context(Namespace()) if over_veth else self.there
        if over_veth:
            veth(self.here, self.there, "far0", "near0")
        self.interface = "near0" if over_veth else "lo"
        self.source = {"10.77.0.2": "10.77.0.1", "fd77::2": "fd77::1"}.get(ip, ip)
        self.server, self.client = Puppet(self.there, "server"), Puppet(self.here, "client")
        self.sender = stack.enter_context(Sender(self.here))

    def connect(self, **kw):
        return Connection(self.sender, self.server, self.client, self.ip, **kw)


@contextlib.contextmanager
def lab(ip="127.0.0.1", over_veth=False):
    with contextlib.ExitStack() as stack:
        yield Lab(stack, ip, over_veth)


def assert_packet(record, lab, connection, reason, sent, kernel_reason=None):
    """What follows from the packet alone; `sent` is what Connection.send() has returned."""
    assert record["event"]["reason"] == reason
    assert record["netline"]["inerr"] == {"class": CLASS_OF[reason], "count": 1, **({"kernel_reason": kernel_reason} if TELLS_REASON else {})}, record
    assert record["network"] == {"type": "ipv6" if ":" in lab.ip else "ipv4", "transport": "tcp", "direction": "ingress",
                                 "interface": {"name": lab.interface}}
    assert (record["source"]["ip"], record["source"]["port"]) == connection.source
    assert (record["destination"]["ip"], record["destination"]["port"]) == connection.destination
    assert record["netline"]["packet"] == {"bytes": sent["bytes"]}
    told = record["netline"]["tcp"]
    if reason == "header_too_short":
        assert told["seq"] == sent["seq"] and "ack" not in told and "flags" not in told
    else:
        assert (told["seq"], told["ack"], told["flags"]) == (sent["seq"], sent["ack"], sent["flags"])


def assert_owned(record, lab):
    assert record["process"] == {"pid": lab.server.pid, "name": "server", "thread": {"id": lab.server.pid, "name": "server"}}


def assert_socket(record, lab, connection, state="ESTABLISHED"):
    """What follows from the socket that it was for."""
    told, accepted = record["netline"]["tcp"], connection.accepted
    assert told["state"] == state and told["expected_seq"] == connection.expected and 0 < told["window"] < 1 << 30
    assert record["netline"]["socket"].get("cookie", accepted.cookie) == accepted.cookie
    assert_owned(record, lab)


# --- ordinary traffic ---


def connected_pair(here, there, ip):
    """A connection with both ends in this process: (client, server)."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with in_namespace_of(there, lambda: socket.create_server((ip, 0), family=family, dualstack_ipv6=":" in ip)) as listener:
        client = in_namespace_of(here, lambda: socket.socket(family))
        client.connect(listener.getsockname()[:2])
        server, _ = listener.accept()
    return client, server


def transfer(client, server, size):
    """Through both buffers, by turns."""
    sent = received = 0
    client.setblocking(False)
    server.setblocking(False)
    while received < size:
        ready, writable, _ = select.select([server], [client] if sent < size else [], [], 10)
        assert ready or writable, f"{sent} bytes sent, {received} received, and nothing goes on"
        if writable:
            sent += client.send(bytes(min(1 << 16, size - sent)))
        if ready:
            received += len(server.recv(1 << 17))
    client.setblocking(True)
    server.setblocking(True)


def others_than_the_last(agent, there):
    """Sends one bad packet, and returns the records of others when its own is there."""
    there.sender.send(there.source, there.ip, tcp(there.source, there.ip, (4001, 1), 7, 0, SYN))
    agent.wait_for(lambda records: any(r["source"].get("port") == 4001 for r in in_namespace(records, there.there)))
    records = agent.stop()
    return [r for ns in {there.here, there.there} for r in in_namespace(records, ns) if r["source"].get("port") not in (1, 4001)]


def nothing_but_the_last(agent, there):
    assert others_than_the_last(agent, there) == []
