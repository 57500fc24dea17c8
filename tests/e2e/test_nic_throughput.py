# SPDX-License-Identifier: BSD-2-Clause
"""nic_throughput against what was sent, against `ip -s link`, ethtool, tc and a capture.

The veth pairs here are silent: no ARP and no neighbour discovery (arp off, static neighbours), no router solicitation, no multicast listener
reports. What is on the wire is what the test sent, so sums are compared exactly.
"""
import collections
import concurrent.futures
import contextlib
import ctypes
import datetime
import decimal
import fractions
import itertools
import json
import math
import os
import re
import socket
import struct
import subprocess
import time

import pytest

from captures import Tcpdump
from harness import KERNEL, NETLINE, SCALE, Agent, Namespace, assert_loss_equation, of_dataset, program, wait_until

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
SOL_UDP, UDP_SEGMENT = 17, 103
MAC_HEADER, UDP_HEADER = 14, 8
IP_HEADER = {4: 20, 6: 40}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
ADDRESS = {4: ("10.77.0.1", "10.77.0.2"), 6: ("fd77::1", "fd77::2")}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
PORT = 4000
FAST = ("--interval", "0.1", "nic_throughput")

Sum = collections.namedtuple("Sum", "packets bytes skbs")


# Namespaces, NICs and traffic

def inside(namespace, function):
    """function() in a thread that has entered the namespace: a socket stays in the one in which it was made."""
    def enter():
        with open(f"/run/netns/{namespace.name}", "rb") as handle:
            assert not LIBC.setns(handle.fileno(), CLONE_NEWNET), os.strerror(ctypes.get_errno())
        return function()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(enter).result()


def link(namespace, name):
    shown, = json.loads(namespace.run(["ip", "-s", "-j", "link", "show", "dev", name]).stdout)
    return shown


def link_counters(namespace, name):
    """{direction: (packets, bytes)} as the kernel's own statistics have them; of veth they count skbs."""
    stats = link(namespace, name)["stats64"]
    return {"egress": (stats["tx"]["packets"], stats["tx"]["bytes"]), "ingress": (stats["rx"]["packets"], stats["rx"]["bytes"])}


def silent_veth(a, b, queues=1, name="eth0", number=0):
    """A veth pair with addresses of both families, ADDRESS moved by `number`, and nothing on the wire."""
    size = ["numtxqueues", queues, "numrxqueues", queues]
    for namespace in (a, b):
        namespace.sysctl("net.ipv6.conf.default.addr_gen_mode", 1)
        namespace.sysctl("net.ipv6.conf.default.router_solicitations", 0)
    a.run(["ip", "link", "add", name, *size, "type", "veth", "peer", "name", name, *size, "netns", b.name])
    for namespace in (a, b):
        namespace.run(["ip", "link", "set", name, "arp", "off"])
    for namespace in (a, b):
        namespace.run(["ip", "link", "set", name, "up"])
    for side, (namespace, peer) in enumerate(((a, b), (b, a))):
        give_addresses(namespace, peer, name, side, number)
    for namespace in (a, b):
        wait_until(lambda: link(namespace, name)["operstate"] == "UP", 10, f"{name} in {namespace.name}")
        assert link_counters(namespace, name) == {"egress": (0, 0), "ingress": (0, 0)}


def address(family, side, number=0):
    return ADDRESS[family][side].replace("77", str(77 + number))


def give_addresses(namespace, peer, name, side, number=0):
    mac = link(peer, name)["address"]
    for family, length in ((4, 24), (6, 64)):
        nodad = ["nodad"] if family == 6 else []
        namespace.run(["ip", "addr", "replace", f"{address(family, side, number)}/{length}", "dev", name, *nodad])
        namespace.run(["ip", "neigh", "replace", address(family, 1 - side, number), "lladdr", mac, "dev", name, "nud", "permanent"])


@contextlib.contextmanager
def silent_pair(queues=1):
    with Namespace() as a, Namespace() as b:
        silent_veth(a, b, queues)
        yield a, b


def udp_socket(namespace, family, host, port):
    def make():
        made = socket.socket(FAMILY[family], socket.SOCK_DGRAM)
        made.bind((host, port))
        return made

    return inside(namespace, make)


class Datagrams:
    """Sends datagrams between two namespaces joined by silent_veth(), and counts what the wire must see of them."""

    def __init__(self, a, b, family=4, number=0, mtu=1500):
        hosts = [address(family, side, number) for side in (0, 1)]
        self._sockets = [udp_socket(namespace, family, host, PORT) for namespace, host in zip((a, b), hosts)]
        self._hosts, self._family, self._mtu = hosts, family, mtu
        self.sent = [Sum(0, 0, 0), Sum(0, 0, 0)]  # from a, from b

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self._sockets:
            each.close()

    def send(self, size, count=1, side=0):
        for _ in range(count):
            self._sockets[side].sendto(bytes(size), (self._hosts[1 - side], PORT))
        frames = frames_of(size, self._family, self._mtu)
        packets, total = count * len(frames), count * sum(frames)
        self.sent[side] = Sum(*(x + y for x, y in zip(self.sent[side], (packets, total, packets))))

    def send_segmented(self, size, segment, count, side=0):
        """One skb each, which leaves as size / segment packets (UDP_SEGMENT)."""
        assert size % segment == 0
        self._sockets[side].setsockopt(SOL_UDP, UDP_SEGMENT, segment)
        for _ in range(count):
            self._sockets[side].sendto(bytes(size), (self._hosts[1 - side], PORT))
        packets = count * size // segment
        frame = MAC_HEADER + IP_HEADER[self._family] + UDP_HEADER + segment
        self.sent[side] = Sum(*(x + y for x, y in zip(self.sent[side], (packets, packets * frame, count))))


def frames_of(size, family, mtu):
    """Lengths of the frames of one datagram, fragments of IPv4 included."""
    header, left = IP_HEADER[family], size + UDP_HEADER
    if header + left <= mtu:
        return [MAC_HEADER + header + left]
    assert family == 4, "the test sends no IPv6 fragments"
    piece = (mtu - header) // 8 * 8
    return [MAC_HEADER + header + min(piece, left - at) for at in range(0, left, piece)]


WINDOW = 1 << 17  # bytes under way: fewer packets than the 256 for which veth has room, whose CPU may be late. What it drops only the capture sees


def transfer(a, b, family, size, number=0):
    """Moves `size` bytes over one TCP connection from a to b, and returns when both ends are done with it."""
    peer = (address(family, 1, number), PORT)
    listener = inside(b, lambda: socket.create_server(peer, family=FAMILY[family]))
    client = inside(a, lambda: socket.socket(FAMILY[family], socket.SOCK_STREAM))
    with listener, client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        client.connect(peer)
        server, _ = listener.accept()
        with server, concurrent.futures.ThreadPoolExecutor(1) as pool:
            received = pool.submit(read_to_end, server)
            client.sendall(bytes(size))
            client.shutdown(socket.SHUT_WR)
            assert received.result() == size
        assert client.recv(1) == b""
    for namespace in (a, b):
        wait_until(lambda: not tcp_sockets(namespace), 10, f"the end of the connection in {namespace.name}")


def read_to_end(connection):
    total = 0
    while chunk := connection.recv(1 << 16):
        total += len(chunk)
    return total


def tcp_sockets(namespace):
    states = [line.split()[0] for line in namespace.run(["ss", "-tanH"]).stdout.splitlines()]
    return [state for state in states if state != "TIME-WAIT"]


def offloads(namespace, **features):
    namespace.run(["ethtool", "-K", "eth0", *itertools.chain.from_iterable(features.items())])


def on_the_wire(frames, source, tunnel=0, mtu=1500):
    """The Sum of the TCP frames from one address, when each is cut into segments of a full MTU; `tunnel` bytes stand before each."""
    packets = total = skbs = 0
    for raw, length in frames:
        sender, headers = tcp_headers(raw, tunnel)
        if sender != source:
            continue
        segments = max(1, math.ceil((length - headers) / (mtu + MAC_HEADER - headers)))
        packets += segments
        total += length + (segments - 1) * headers
        skbs += 1
    return Sum(packets, total, skbs)


def tcp_headers(raw, at):
    """(source address, bytes up to the TCP payload); the Ethernet frame begins at `at`."""
    kind, = struct.unpack_from("!H", raw, at + 12)
    if kind == 0x0800:
        ip, sender = (raw[at + 14] & 15) * 4, socket.inet_ntop(socket.AF_INET, raw[at + 26:at + 30])
    else:
        assert kind == 0x86dd and raw[at + 20] == socket.IPPROTO_TCP
        ip, sender = 40, socket.inet_ntop(socket.AF_INET6, raw[at + 22:at + 38])
    return sender, at + MAC_HEADER + ip + (raw[at + MAC_HEADER + ip + 12] >> 4) * 4


# The records

def of_nic(records, namespace, name=None, direction=None, scope="total"):
    return [record for record in of_dataset(records, "nic_throughput")
            if record["netline"]["nic"]["netns"] == str(namespace.inum) and record["netline"]["nic"]["scope"] == scope
            and name in (None, name_of(record)) and direction in (None, direction_of(record))]


def name_of(record):
    return record["network"]["interface"]["name"]


def direction_of(record):
    return record["network"]["direction"]


def summed(records):
    return Sum(sum(r["network"]["packets"] for r in records), sum(r["network"]["bytes"] for r in records),
               sum(r["netline"]["nic"]["skbs"] for r in records))


def wait_for_packets(agent, namespace, direction, packets, name="eth0"):
    agent.wait_for(lambda records: summed(of_nic(records, namespace, name, direction)).packets >= packets)


def ticks_of(records):
    """The records in groups of one tick, in order."""
    return [list(group) for _, group in itertools.groupby(of_dataset(records, "nic_throughput"), lambda r: r["@timestamp"])]


def wait_for_ticks(agent, more):
    have = len(ticks_of(agent.records()))
    agent.wait_for(lambda records: len(ticks_of(records)) >= have + more)


def nanoseconds(stamp):
    whole = datetime.datetime.strptime(stamp[:19] + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    return int(whole.timestamp()) * 10**9 + int(stamp[20:29])


def nics_of(records, namespace):
    return {name_of(record) for record in of_nic(records, namespace)}


# Counts

@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("family", [4, 6])
def test_udp_is_counted_exactly(family, where):
    with silent_pair() as (a, b), Agent(*FAST, ns=a if where == "inside" else None) as agent, Datagrams(a, b, family) as traffic:
        for size, count in ((0, 3), (1, 5), (18, 7), (512, 50), (1400, 20)):
            traffic.send(size, count)
        traffic.send(1500 - IP_HEADER[family] - UDP_HEADER, 11)
        if family == 4:
            traffic.send(4000, 2)
        traffic.send(100, 13, side=1)
        for sender, receiver, sent in ((a, b, traffic.sent[0]), (b, a, traffic.sent[1])):
            wait_for_packets(agent, sender, "egress", sent.packets)
            wait_for_packets(agent, receiver, "ingress", sent.packets)
        records = agent.stop()
        for sender, receiver, sent in ((a, b, traffic.sent[0]), (b, a, traffic.sent[1])):
            assert link_counters(sender, "eth0")["egress"] == sent[:2]
            assert link_counters(receiver, "eth0")["ingress"] == sent[:2]
            assert summed(of_nic(records, sender, "eth0", "egress")) == sent
            assert summed(of_nic(records, receiver, "eth0", "ingress")) == sent
        assert_loss_equation(records, "nic_throughput")


@pytest.mark.parametrize("family", [4, 6])
def test_udp_on_loopback(family):
    with Namespace() as a:
        with udp_socket(a, family, LOOPBACK[family], PORT) as one, Agent(*FAST, ns=a) as agent:
            for _ in range(100):
                one.sendto(bytes(1000), (LOOPBACK[family], PORT))
            wait_for_packets(agent, a, "ingress", 100, "lo")
            records = agent.stop()
        sent = Sum(100, 100 * (MAC_HEADER + IP_HEADER[family] + UDP_HEADER + 1000), 100)
        assert summed(of_nic(records, a, "lo", "egress")) == sent
        assert summed(of_nic(records, a, "lo", "ingress")) == sent


def test_segmented_udp_is_counted_as_packets():
    with silent_pair() as (a, b), Agent(*FAST) as agent, Datagrams(a, b) as traffic:
        traffic.send_segmented(8000, 500, 25)
        wait_for_packets(agent, b, "ingress", traffic.sent[0].packets)
        records = agent.stop()
        for namespace, direction in ((a, "egress"), (b, "ingress")):
            counted = summed(of_nic(records, namespace, "eth0", direction))
            assert counted[:2] == traffic.sent[0][:2]
            assert counted.skbs == link_counters(namespace, "eth0")[direction][0]


@pytest.mark.parametrize("family", [4, 6])
def test_tcp_without_offloads(family, tmp_path):
    with silent_pair() as (a, b), Agent(*FAST) as agent, Tcpdump(b, tmp_path / "b.pcap") as capture:
        for namespace in (a, b):
            offloads(namespace, tso="off", gso="off", gro="off")
        transfer(a, b, family, 3_000_000)
        compare_with_capture(agent, a, b, capture, family, lambda counted: counted.packets == counted.skbs)


@pytest.mark.parametrize("family", [4, 6])
def test_tcp_with_offloads(family, tmp_path):
    with silent_pair() as (a, b), Agent(*FAST) as agent, Tcpdump(b, tmp_path / "b.pcap") as capture:
        transfer(a, b, family, 20_000_000 // SCALE)
        compare_with_capture(agent, a, b, capture, family, lambda counted: counted.packets > 2 * counted.skbs)


def test_tcp_with_offloads_in_a_tunnel(tmp_path):
    """The skbs on the NIC below are segmented at the inner header, and each segment repeats outer and inner headers."""
    vxlan, number = MAC_HEADER + IP_HEADER[4] + UDP_HEADER + 8, 11
    with silent_pair() as (a, b), Agent(*FAST) as agent, Tcpdump(b, tmp_path / "b.pcap") as capture:
        for side, namespace in ((0, a), (1, b)):
            namespace.run(["ip", "link", "add", "vx0", "type", "vxlan", "id", 5, "dstport", 4789, "local", address(4, side),
                           "remote", address(4, 1 - side), "dev", "eth0"])
            namespace.run(["ip", "link", "set", "vx0", "arp", "off", "up"])
        for side, (namespace, peer) in enumerate(((a, b), (b, a))):
            give_addresses(namespace, peer, "vx0", side, number)
        transfer(a, b, 4, 20_000_000 // SCALE, number)
        compare_with_capture(agent, a, b, capture, 4, lambda counted: counted.packets > 2 * counted.skbs, vxlan, number)


def compare_with_capture(agent, a, b, capture, family, expected_of_data, tunnel=0, number=0):
    counters = link_counters(b, "eth0")
    wait_until(lambda: len(capture.frames()) == counters["ingress"][0] + counters["egress"][0], 10, "tcpdump to have written all frames")
    frames = capture.frames()
    wires = {side: on_the_wire(frames, address(family, side, number), tunnel) for side in (0, 1)}
    for side, namespace in ((0, a), (1, b)):
        wait_for_packets(agent, namespace, "egress", wires[side].packets)
        wait_for_packets(agent, namespace, "ingress", wires[1 - side].packets)
    records = agent.stop()
    assert link_counters(b, "eth0") == counters, "there was traffic after the transfer"
    for sender, receiver, wire in ((a, b, wires[0]), (b, a, wires[1])):
        for namespace, direction in ((sender, "egress"), (receiver, "ingress")):
            counted = summed(of_nic(records, namespace, "eth0", direction))
            assert counted == wire
            assert counted.skbs == link_counters(namespace, "eth0")[direction][0]
    assert expected_of_data(summed(of_nic(records, a, "eth0", "egress")))


def test_packets_that_gro_has_merged_are_counted_one_by_one(tmp_path):
    """Of veth with GRO the kernel's statistics count bytes without the MAC header: here the capture is the oracle."""
    with silent_pair() as (a, b), Agent(*FAST) as agent, Tcpdump(a, tmp_path / "a.pcap") as capture:
        offloads(a, tso="off", gso="off", gro="off")
        offloads(b, tso="off", gso="off", gro="on")
        if KERNEL < (5, 13):
            pass_through_xdp(b)
        transfer(a, b, 4, 3_000_000)
        counters = link_counters(a, "eth0")
        wait_until(lambda: len(capture.frames()) == counters["egress"][0] + counters["ingress"][0], 10, "tcpdump to have written all frames")
        sent = on_the_wire(capture.frames(), address(4, 0))
        wait_for_packets(agent, b, "ingress", sent.packets)
        records = agent.stop()
        received = summed(of_nic(records, b, "eth0", "ingress"))
        assert sent.packets == sent.skbs == counters["egress"][0]
        assert received[:2] == sent[:2]
        assert received.skbs < received.packets / 2
        assert summed(of_nic(records, a, "eth0", "egress")) == sent


def pass_through_xdp(namespace):
    """Before 5.13 veth merges packets only where an XDP program is attached."""
    process = namespace.popen([program("xdp_pass"), "eth0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "attached\n"


# Intervals and derived values

def test_ticks_join_and_rates_follow_from_the_measured_interval():
    with silent_pair() as (a, b), Datagrams(a, b) as traffic:
        started = time.monotonic()
        with Agent("--interval", "0.2", "nic_throughput", ns=a) as agent:
            for size in (100, 700, 1300):
                traffic.send(size, 10)
                wait_for_ticks(agent, 2)
            agent.wait_for(lambda records: len(ticks_of(records)) >= 13)  # the offset to UTC is sampled each second
            elapsed = time.monotonic() - started
            records = agent.stop()
    ticks = ticks_of(records)
    assert 13 <= len(ticks) <= elapsed / 0.2 + 2
    assert len({r["@timestamp"] for r in of_dataset(records, "nic_throughput")}) == len(ticks), "records of two ticks are mixed"
    for tick in ticks:
        assert len({(r["event"]["start"], r["event"]["duration"]) for r in tick}) == 1
        utc_length = nanoseconds(tick[0]["@timestamp"]) - nanoseconds(tick[0]["event"]["start"])
        assert abs(utc_length - tick[0]["event"]["duration"]) < 1_000_000, "measured by the monotonic clock, give or take a correction of UTC"
        assert len({identity(r) for r in tick}) == len(tick), "one thing twice in one tick"
    for before, after in zip(ticks, ticks[1:]):
        assert after[0]["event"]["start"] == before[0]["@timestamp"]
    lengths = [tick[0]["event"]["duration"] for tick in ticks[:-1]]
    assert sum(lengths) / len(lengths) == pytest.approx(0.2e9, rel=0.25)
    check_derived(of_dataset(records, "nic_throughput"))


def identity(record):
    nic = record["netline"]["nic"]
    return nic["netns"], nic["index"], direction_of(record), nic["scope"], nic.get("queue")


def check_derived(records):
    totals = collections.defaultdict(lambda: [0, 0])
    for record in records:
        nic, network, duration = record["netline"]["nic"], record["network"], record["event"]["duration"]
        check_fixed(nic["bytes_per_sec"], fractions.Fraction(network["bytes"] * 10**9, duration))
        check_fixed(nic["packets_per_sec"], fractions.Fraction(network["packets"] * 10**9, duration))
        assert ("avg_packet_bytes" in nic) == (network["packets"] > 0)
        if network["packets"]:
            check_fixed(nic["avg_packet_bytes"], fractions.Fraction(network["bytes"], network["packets"]))
        total = totals[identity(record)]
        total[0] += network["bytes"]
        total[1] += network["packets"]
        assert [nic["bytes_total"], nic["packets_total"]] == total, f"the sum of all records so far is {total}: {record}"
    assert any(total[0] for total in totals.values())


def check_fixed(value, exact):
    """At most three decimals, the last one cut or rounded."""
    written = decimal.Decimal(str(value))
    assert written.as_tuple().exponent >= -3 and abs(fractions.Fraction(written) - exact) < fractions.Fraction(1, 1000), (value, exact)


def test_idle_nics_have_records_of_zero():
    with silent_pair() as (a, _), Agent(*FAST, ns=a) as agent:
        wait_for_ticks(agent, 3)
        records = agent.stop()
        own = of_nic(records, a)
        for tick in ticks_of(own):
            assert sorted((name_of(r), direction_of(r)) for r in tick) == \
                [("eth0", "egress"), ("eth0", "ingress"), ("lo", "egress"), ("lo", "ingress")]
        assert summed(own) == Sum(0, 0, 0) and not of_nic(records, a, scope="queue")
        for record in own:
            nic = record["netline"]["nic"]
            assert (nic["bytes_per_sec"], nic["packets_per_sec"], nic["bytes_total"], nic["packets_total"]) == (0, 0, 0, 0)
            assert "avg_packet_bytes" not in nic


# Queues

@pytest.mark.parametrize("made, queues", [(4, 4), (2, 2), (4, 2)])
def test_queues(made, queues):
    with silent_pair(queues=made) as (a, b), contextlib.ExitStack() as stack:
        for namespace in (a, b) if made != queues else ():
            changed = namespace.run(["ethtool", "-L", "eth0", "rx", queues, "tx", queues], check=False)
            if "not supported" in changed.stderr:
                pytest.skip("this kernel's veth keeps the number of queues that it was made with")
            assert changed.returncode == 0, changed.stderr
        a.run(["tc", "qdisc", "replace", "dev", "eth0", "root", "handle", "1:", "mq"])
        receiver = stack.enter_context(udp_socket(b, 4, address(4, 1), PORT))
        agent = stack.enter_context(Agent(*FAST, ns=a))
        for flow in range(64):
            with udp_socket(a, 4, address(4, 0), 5000 + flow) as sender:
                sender.connect(receiver.getsockname())
                for _ in range(flow % 7 + 1):
                    sender.send(bytes(10 * flow))
        sent = link_counters(a, "eth0")["egress"]
        wait_for_packets(agent, a, "egress", sent[0])
        wait_for_packets(agent, b, "ingress", sent[0])
        records = agent.stop()
        total = summed(of_nic(records, a, "eth0", "egress"))
        by_queue = summed_by_queue(of_nic(records, a, "eth0", "egress", "queue"))
        assert total[:2] == sent
        assert {queue: each[:2] for queue, each in by_queue.items()} == qdisc_counters(a)
        assert set(by_queue) == set(range(queues)), "64 flows take every queue"
        assert Sum(*map(sum, zip(*by_queue.values()))) == total
        assert {r["netline"]["nic"]["queues"] for r in of_nic(records, a, "eth0")} == {queues}
        assert not [r for r in of_nic(records, a, "eth0", scope="queue") if not r["network"]["packets"]], "a queue without traffic"
        received = summed_by_queue(of_nic(records, b, "eth0", "ingress", "queue"))
        assert set(received) <= set(range(queues))
        check_derived(of_nic(records, a, "eth0", scope="queue") + of_nic(records, a, "eth0"))


def summed_by_queue(records):
    by_queue = collections.defaultdict(list)
    for record in records:
        by_queue[record["netline"]["nic"]["queue"]].append(record)
    return {queue: summed(each) for queue, each in by_queue.items()}


def qdisc_counters(namespace):
    """{queue: (packets, bytes)} of the qdiscs below mq, one per transmit queue."""
    found = {}
    for qdisc in json.loads(namespace.run(["tc", "-s", "-j", "qdisc", "show", "dev", "eth0"]).stdout):
        if qdisc.get("parent", "").startswith("1:") and qdisc["packets"]:
            found[int(qdisc["parent"][2:], 16) - 1] = (qdisc["packets"], qdisc["bytes"])
    return found


# Which NICs, and what is known of them

def test_nic_selects():
    with silent_pair() as (a, b), Datagrams(a, b) as traffic:
        silent_veth(a, b, name="eth1", number=1)
        with Datagrams(a, b, number=1) as other, Agent("--nic", "eth1", *FAST, ns=a) as agent:
            traffic.send(100, 10)
            other.send(100, 17)
            wait_for_packets(agent, a, "egress", 17, "eth1")
            records = agent.stop()
            assert nics_of(records, a) == {"eth1"}
            assert len({r["netline"]["nic"]["netns"] for r in of_dataset(records, "nic_throughput")}) == 1
            assert summed(of_nic(records, a, "eth1", "egress")) == other.sent[0]
            assert_loss_equation(records, "nic_throughput")


def test_nic_selects_several():
    with silent_pair() as (a, b):
        silent_veth(a, b, name="eth1", number=1)
        with Agent("-n", "eth1,lo", *FAST, ns=a) as agent:
            wait_for_ticks(agent, 2)
            assert nics_of(agent.stop(), a) == {"eth1", "lo"}


def test_unknown_nic():
    with silent_pair() as (a, _):
        done = a.run([NETLINE, "--nic", "lo,eth9", "nic_throughput"], check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"eth9\b.*\blo\b.*\beth0\b", done.stderr) and len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_rename(where):
    with silent_pair() as (a, b), Agent(*FAST, ns=a if where == "inside" else None) as agent, Datagrams(a, b) as traffic:
        traffic.send(200, 10)
        wait_for_packets(agent, a, "egress", 10)
        for change in (["down"], ["name", "wan0"]):
            a.run(["ip", "link", "set", "eth0", *change])
        a.run(["ip", "link", "set", "wan0", "up"])
        wait_until(lambda: link(a, "wan0")["operstate"] == "UP", 10, "wan0 to be up")
        mac = link(b, "eth0")["address"]
        a.run(["ip", "neigh", "replace", address(4, 1), "lladdr", mac, "dev", "wan0", "nud", "permanent"])
        traffic.send(300, 7)
        wait_for_packets(agent, a, "egress", 7, "wan0")
        records = of_nic(agent.stop(), a, direction="egress")
    records = [r for r in records if name_of(r) != "lo"]
    names = [name for name, _ in itertools.groupby(map(name_of, records))]
    assert names == ["eth0", "wan0"]
    assert len({r["netline"]["nic"]["index"] for r in records}) == 1
    assert summed(records) == traffic.sent[0]
    assert records[-1]["netline"]["nic"]["packets_total"] == 17
    check_derived(records)


def test_nic_that_comes_and_goes():
    with silent_pair() as (a, b), Agent(*FAST, ns=a) as agent:
        wait_for_ticks(agent, 1)
        silent_veth(a, b, name="hot0", number=1)
        agent.wait_for(lambda records: "hot0" in nics_of(records, a))
        with Datagrams(a, b, number=1) as traffic:
            traffic.send(400, 30)
            wait_for_packets(agent, a, "egress", 30, "hot0")
            traffic.send(400, 20)
            a.run(["ip", "link", "del", "hot0"])
            removed = time.time_ns()
            wait_for_ticks(agent, 4)
            records = agent.stop()
        late = [r for r in of_dataset(records, "nic_throughput") if nanoseconds(r["event"]["start"]) >= removed]
        assert {name_of(r) for r in of_nic(late, a)} == {"lo", "eth0"}
        assert summed(of_nic(records, a, "hot0", "egress")) == traffic.sent[0], "what was sent just before the removal counts"
        assert_loss_equation(records, "nic_throughput")


def test_same_name_and_index_in_two_namespaces():
    with silent_pair() as (a, b), Agent(*FAST) as agent, Datagrams(a, b) as traffic:
        traffic.send(100, 40)
        traffic.send(900, 3, side=1)
        for namespace, egress, ingress in ((a, 40, 3), (b, 3, 40)):
            wait_for_packets(agent, namespace, "egress", egress)
            wait_for_packets(agent, namespace, "ingress", ingress)
        records = agent.stop()
        assert link(a, "eth0")["ifindex"] == link(b, "eth0")["ifindex"]
        for namespace, sent, received in ((a, *traffic.sent), (b, *reversed(traffic.sent))):
            assert summed(of_nic(records, namespace, "eth0", "egress")) == sent
            assert summed(of_nic(records, namespace, "eth0", "ingress")) == received
            assert {r["netline"]["nic"]["index"] for r in of_nic(records, namespace, "eth0")} == {link(namespace, "eth0")["ifindex"]}
            assert not [r for r in of_nic(records, namespace) if "speed_bps" in r["netline"]["nic"]], "speed of a foreign NIC is unknown"


def test_link_speed_is_that_of_ethtool():
    with silent_pair() as (a, _), Agent(*FAST, ns=a) as agent:
        wait_for_ticks(agent, 1)
        records = agent.stop()
        told = re.search(r"Speed: (\d+)Mb/s", a.run(["ethtool", "eth0"]).stdout)
        speeds = {name: {r["netline"]["nic"].get("speed_bps") for r in of_nic(records, a, name)} for name in ("eth0", "lo")}
    assert speeds == {"eth0": {int(told[1]) * 10**6 if told else None}, "lo": {None}}
