# SPDX-License-Identifier: BSD-2-Clause
"""
Holds delay_analysis_in records against what was received: a capture, the kernel's own counters of the namespace (InSegs counts each skb
that TCP is given, TCPRcvCoalesce, TCPBacklogCoalesce and TCPOFOQueue what became of it), and what the programs have read.
"""
import collections
import contextlib
import os
import pathlib
import socket

from captures import Tcpdump
from delays import nft
from harness import PREEMPTS_TRACEPOINTS, Agent, assert_loss_equation, of_dataset, veth, wait_until
from segments import counters, flag_text, in_namespace_of
from transfers import wait_for_no_sockets

ENDS_IN_QUEUE = ("read", "coalesced", "backlog_coalesced")  # of what a process reads
STAGES = ("mac_ns", "ip_ns", "tcp_ns")

Packet = collections.namedtuple("Packet", "source source_port destination destination_port seq ack flags bytes")


def delays_agent(*args, **kw):
    return Agent(*args, "delay_analysis_in", **kw)


def in_namespace(records, ns):
    return [r for r in of_dataset(records, "delay_analysis_in") if r["netline"]["socket"]["netns"] == str(ns.inum)]


def end_of(record):
    return record["netline"]["delay"]["end"]


def ends_of(records):
    return collections.Counter(map(end_of, records))


def with_end(records, *ends):
    return [r for r in records if end_of(r) in ends]


def to_port(records, port):
    return [r for r in records if r["destination"]["port"] == port]


def packet_of(record):
    told = record["netline"]["tcp"]
    return Packet(record["source"]["ip"], record["source"]["port"], record["destination"]["ip"], record["destination"]["port"],
                  told["seq"], told["ack"], told.get("flags", ""), record["netline"]["packet"]["bytes"])


def way_of(records):
    probe = next(r for r in of_dataset(records, "agent_probe") if r["netline"]["probe"]["name"] == "delay_analysis_in")
    return probe["netline"]["probe"]["way"]


def received(ns):
    """How many skbs TCP was given in that namespace."""
    return counters(ns)["InSegs"]


def repeated_fins(records):
    """How many FINs without data had come before: the kernel counts them with data that is sent again in vain."""
    fins = [(r["source"]["port"], r["netline"]["tcp"]["seq"]) for r in with_end(records, "processed", "dropped")
            if "FIN" in r["netline"]["tcp"].get("flags", "")]
    return len(fins) - len(set(fins))


def assert_ends(records, ns, **expected):
    """So many of each, `processed` apart; what a stalled sender has sent again is dropped, and the kernel counts that as well."""
    ends = ends_of(records)
    again = ends.pop("dropped", 0)
    assert again <= counters(ns)["DelayedACKLost"], ends
    ends.pop("processed", 0)
    assert ends == {end: n for end, n in expected.items() if n}, ends


def assert_stages(record):
    """Times add up, and those are there that the end lets expect."""
    told, end = record["netline"]["delay"], end_of(record)
    if "duration" in record["event"]:
        assert sum(told[name] for name in STAGES) == record["event"]["duration"], record
    else:
        assert not all(name in told for name in STAGES), record
    assert ("tcp_ns" in told) == (end not in ("processed", "unknown")) or end == "dropped", record
    assert "socket_wait_ns" not in told or end == "read", record
    if "socket_wait_ns" in told:
        assert told["protocol_ns"] + told["socket_wait_ns"] == told["tcp_ns"], record
    elif end != "read" and "tcp_ns" in told:
        assert told["protocol_ns"] == told["tcp_ns"], record
    assert ("process" in record) == (end == "read"), record


def assert_all_stages(records, ends=ENDS_IN_QUEUE):
    """None of these lacks a stage. (Where programs are preempted some may be skipped.)"""
    lacking = [r for r in with_end(records, *ends) if "duration" not in r["event"]]
    assert len(lacking) <= (len(records) / 100 if PREEMPTS_TRACEPOINTS else 0), f"{len(lacking)} of {len(records)}: {lacking[:3]}"


def assert_records(records, there, way):
    """What holds for each of a lab's records."""
    for record in records:
        mapped = there.ip.removeprefix("::ffff:")
        assert record["network"] == {"type": "ipv6" if ":" in mapped else "ipv4", "transport": "tcp", "direction": "ingress",
                                     "interface": {"name": there.interface}}, record
        assert record["netline"]["delay"]["hooks"] == way and record["netline"]["sample_rate"] == 1, record
        assert_stages(record)


def finish(agent, there, before=0):
    """
    When the connections are gone, ends netline: (its records of the namespace, all records). Each skb that TCP was given since the
    counter was `before` has a record, or is counted as filtered or lost.
    """
    for ns in {there.here, there.there}:
        wait_for_no_sockets(ns)
    return end(agent, there, before)


def end(agent, there, before=0):
    """The same, whatever sockets there still are: then a packet may come while netline ends."""
    least = received(there.there) - before
    records = agent.stop()
    most = received(there.there) - before
    counted = assert_loss_equation(records, "delay_analysis_in")
    found = in_namespace(records, there.there)
    assert len(found) == counted["emitted"], "its own namespace only"
    if PREEMPTS_TRACEPOINTS:  # what is counted as missed may be of packets that have a record
        assert counted["produced"] >= least and len(found) + counted["filtered"] <= most, (counted, least, most)
    else:
        assert least <= counted["produced"] <= most and counted["lost"] == 0, (counted, least, most)
    for record in found:
        assert_stages(record)
    return found, records


# --- traffic ---


def tcp_socket(ns, ip):
    return in_namespace_of(ns, lambda: socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET))


def listen(ns, ip, port=0):
    listener = tcp_socket(ns, ip)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((ip, port))
    listener.listen()
    return listener


@contextlib.contextmanager
def joined(there, ip=None, port=0, local_port=0):
    """A connection with both ends in this process, which sends at once: (client, server). The lab gets their ports, `port` and `client_port`."""
    ip = ip or there.ip
    with listen(there.there, ip, port) as listener, tcp_socket(there.here, ip) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if local_port:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("", local_port))
        client.connect(listener.getsockname()[:2])
        server, _ = listener.accept()
        with server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            there.port, there.client_port = port_of(server), port_of(client)
            yield client, server


def port_of(sock):
    return sock.getsockname()[1]


def is_acknowledged(ns, sock):
    """Whether nothing that was sent is under way any more."""
    shown = ns.run(["ss", "-tnHO", f"sport = :{port_of(sock)} and dport = :{sock.getpeername()[1]}"]).stdout.split()
    return shown[2] == "0"


def send_and_wait(ns, client, data):
    """Sends, and returns when the other side's TCP has it."""
    client.sendall(data)
    wait_until(lambda: is_acknowledged(ns, client), 10, "the data to be acknowledged")


def receive(server, size):
    """Reads so many bytes, whatever the pieces."""
    data = bytearray()
    while len(data) < size:
        piece = server.recv(size - len(data))
        assert piece, f"the end after {len(data)} of {size} bytes"
        data += piece
    return bytes(data)


def echo(client, server, times, size=100):
    """Request and response by turns: each is a packet of its own, and is read before the next."""
    for _ in range(times):
        client.sendall(bytes(size))
        receive(server, size)
        server.sendall(bytes(size))
        receive(client, size)


def assert_reader(record, tid=None, thread_name=None):
    """This process has read it, in its first thread or in another."""
    name = pathlib.Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    assert record["process"] == {"pid": os.getpid(), "name": name, "thread": {"id": tid or os.getpid(), "name": thread_name or name}}, record


def pass_on(there, beyond):
    """The lab's other side passes packets on between its link and one to `beyond`: 10.79.0.2 and fd79::2."""
    veth(there.there, beyond, "near1", "far1", ("10.79.0.1", "10.79.0.2"), ("fd79::1", "fd79::2"))
    for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        there.there.sysctl(name, 1)
    for ns, network, via in ((there.here, "79", "77"), (beyond, "77", "79")):
        own = 2 if ns is there.here else 1
        ns.run(["ip", "route", "add", f"10.{network}.0.0/24", "via", f"10.{via}.0.{own}"])
        ns.run(["ip", "-6", "route", "add", f"fd{network}::/64", "via", f"fd{via}::{own}"])


def filter_input(ns, *commands):
    """Commands in a table t with a chain `input` before TCP."""
    nft(ns, "add table inet t", "add chain inet t input { type filter hook input priority 0; }", *commands)


# --- the capture ---


class Capture(Tcpdump):
    """tcpdump's TCP packets on a NIC."""

    def __init__(self, ns, path, name):
        super().__init__(ns, path, name, ["tcp"])

    def packets(self):
        return [Packet(*p.flow, p.seq, p.ack, flag_text(p.flags), p.bytes) for p in super().packets()]

    def wait_for(self, condition, what):
        return wait_until(lambda: (found := self.packets()) and condition(found) and found, 10, what)
