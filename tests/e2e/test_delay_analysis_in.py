# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_in: each packet that TCP receives is told once, as a capture has it, with what became of it and who has read it."""
import collections
import concurrent.futures
import contextlib
import errno
import fcntl
import os
import pathlib
import socket
import struct
import subprocess
import threading

import pytest

from delays_in import (Capture, assert_all_stages, assert_ends, assert_reader, assert_records, delays_agent, echo, ends_of, finish, in_namespace,
                       joined, listen, packet_of, pass_on, receive, received, tcp_socket, way_of, with_end)
from harness import KERNEL, SCALE, Namespace, assert_loss_equation, of_dataset, parse_lines, wait_until
from inerrs import lab, transfer
from segments import ACK, checksum, in_namespace_of, tcp
from transfers import wait_for_no_sockets

PLACES = [("127.0.0.1", False), ("::1", False), ("::ffff:127.0.0.1", False), ("10.77.0.2", True), ("fd77::2", True), ("::ffff:10.77.0.2", True)]
REQUEST, RESPONSE, TURNS = 100, 700, 20


def exchange(there):
    """Requests and responses of two processes over one connection, which is closed then: (the client's answer to connect, to accept)."""
    listener, port = there.server.listen(6 if ":" in there.ip else 4)
    connected = there.client.connect(there.ip, port)
    accepted = there.server.accept(listener)
    for _ in range(TURNS):
        there.client.must("transfer", connected.socket, REQUEST, 0)
        there.server.must("transfer", accepted.fd, 0, REQUEST)
        there.server.must("transfer", accepted.fd, RESPONSE, 0)
        there.client.must("transfer", connected.socket, 0, RESPONSE)
    there.client.close(connected.socket)
    there.server.must("transfer", accepted.fd, 0, "end")
    there.server.close(accepted.fd)
    return connected, accepted


def process_of(puppet, answer):
    return {"pid": puppet.pid, "name": puppet.name, "thread": {"id": answer.tid, "name": answer.thread_name}}


@pytest.mark.parametrize("ip, over_veth", PLACES)
def test_request_and_response(ip, over_veth, tmp_path):
    """Records and capture are the same packets. What has data is read, by whom it was for."""
    with lab(ip, over_veth) as there, delays_agent(ns=there.there) as agent, Capture(there.there, tmp_path / "in.pcap", there.interface) as capture:
        connected, accepted = exchange(there)
        found, records = finish(agent, there)
        frames = capture.wait_for(lambda frames: len([f for f in frames if f.destination == there.ip.removeprefix("::ffff:")]) >= len(found),
                                  "tcpdump to have written all")
        assert_ends(found, there.there, read=TURNS * (1 if over_veth else 2))
    came = [f for f in frames if f.destination == there.ip.removeprefix("::ffff:")]  # of veth, the other direction is there as well
    assert collections.Counter(map(packet_of, found)) == collections.Counter(came)
    assert_records(found, there, way_of(records))
    assert_all_stages(found, ("read",))
    readers = {connected.remote_port: process_of(there.server, accepted), connected.local_port: process_of(there.client, connected)}
    for record in with_end(found, "read"):
        assert record["process"] == readers[record["destination"]["port"]], record
    assert all("mac_ns" in r["netline"]["delay"] and "ip_ns" in r["netline"]["delay"] for r in found)


def test_thread():
    """Read by another thread than the process's first."""
    def read(server):
        pathlib.Path("/proc/thread-self/comm").write_text("reader", encoding="utf-8")
        return receive(server, 1), threading.get_native_id()

    with lab() as there, delays_agent(ns=there.there) as agent, concurrent.futures.ThreadPoolExecutor(1) as pool:
        with joined(there) as (client, server):
            client.sendall(b"x")
            _, tid = pool.submit(read, server).result()
        found, _ = finish(agent, there)
    record, = with_end(found, "read")
    assert_reader(record, tid, "reader")


def test_own_output():
    """netline's stdout is a TCP connection: its packets would never end, and are none of the records."""
    with lab() as there, listen(there.there, there.ip) as listener, tcp_socket(there.there, there.ip) as out, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        out.connect(listener.getsockname())
        sink, _ = listener.accept()
        written = pool.submit(read_to_end, sink)
        with sink, delays_agent(ns=there.there, stdout=out.fileno()) as agent:
            out.close()
            with joined(there) as (client, server):
                echo(client, server, 20)
            closed = ["ss", "-tnHO", "exclude", "time-wait", f"sport = :{there.port} or dport = :{there.port}"]
            wait_until(lambda: not there.there.run(closed).stdout, 10, "the end of the connection")
            agent.stop()
            records = parse_lines(written.result())
        found = in_namespace(records, there.there)
    assert_loss_equation(records, "delay_analysis_in")
    assert ends_of(found)["read"] == 40
    assert {r[side]["port"] for r in found for side in ("source", "destination")} == {there.port, there.client_port}


def read_to_end(sock):
    data = bytearray()
    while piece := sock.recv(1 << 16):
        data += piece
    return bytes(data)


# --- GRO ---


@pytest.mark.parametrize("ip", ["10.77.0.2", "fd77::2"])
@pytest.mark.parametrize("gro", ["off", "on"])
def test_gro(ip, gro, tmp_path):
    """The sender's side of the link shows single segments: records stand for as many, and for as many bytes, however they were merged."""
    if gro == "on" and KERNEL < (5, 13):
        pytest.skip("before 5.13 a veth link merges packets only for XDP")
    size = (4 << 20) // SCALE
    with lab(ip, True) as there:
        there.here.run(["ethtool", "-K", "far0", "tso", "off", "gso", "off"])
        there.there.run(["ethtool", "-K", "near0", "gro", gro])
        with delays_agent(ns=there.there) as agent, Capture(there.here, tmp_path / "out.pcap", "far0") as capture:
            with joined(there) as (client, server):
                transfer(client, server, size)
            found, records = finish(agent, there)
            segments = sum(r["netline"]["packet"]["segments"] for r in found)
            frames = capture.wait_for(lambda frames: len([f for f in frames if f.destination == ip]) >= segments, "tcpdump to have written all")
    came = [f for f in frames if f.destination == ip]
    assert segments == len(came)
    assert_records(found, there, way_of(records))
    merged = [r for r in found if r["netline"]["packet"]["segments"] > 1]
    assert bool(merged) == (gro == "on")
    if gro == "off":
        assert collections.Counter(map(packet_of, found)) == collections.Counter(came)
    headers = (40 if ":" in ip else 20) + 32  # TCP's with timestamps
    payloads = {f.seq: f.bytes - headers for f in came if f.bytes > headers}
    for record in merged:  # one header for all, and the payload of each
        seq = first = packet_of(record).seq
        for _ in range(record["netline"]["packet"]["segments"]):
            seq = (seq + payloads[seq]) % 2**32
        assert record["netline"]["packet"]["bytes"] == headers + (seq - first) % 2**32, record
    ends = ends_of(found)
    assert ends["unknown"] <= len(found) / 100, ends


TUN, TUNSETIFF, IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = "/dev/net/tun", 0x400454ca, 1, 0x1000, 0x4000
NEEDS_CHECKSUM, GSO_TCPV4 = 1, 1


@contextlib.contextmanager
def tun(ns):
    """A NIC tun0 of the namespace with 10.81.0.1, whose other side is the file."""
    if not os.path.exists(TUN):
        subprocess.run(["modprobe", "tun"], check=True)
    with in_namespace_of(ns, lambda: open(TUN, "r+b", buffering=0)) as file:
        fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR))
        ns.run(["ip", "addr", "add", "10.81.0.1/24", "dev", "tun0"])
        ns.run(["ip", "link", "set", "tun0", "up"])
        yield file


@pytest.mark.any_way
def test_uncut():
    """A virtual machine's or a tap device's packet: how many segments it is has to be computed."""
    with lab() as there, tun(there.there) as file, delays_agent(ns=there.there) as agent:
        segment = tcp("10.81.0.2", "10.81.0.1", (1000, 1), 7, 0, ACK, payload=bytes(3500))
        packet = there.sender.packet("10.81.0.2", "10.81.0.1", segment)
        packet = packet[:2] + struct.pack("!H", len(packet)) + packet[4:]
        packet = packet[:10] + struct.pack("!H", checksum(packet[:20])) + packet[12:]
        file.write(struct.pack("<BBHHHH", NEEDS_CHECKSUM, GSO_TCPV4, 40, 1000, 20, 16) + packet)
        told = agent.wait_for(lambda records: [r for r in in_namespace(records, there.there) if r["network"]["interface"]["name"] == "tun0"])
        agent.stop()
    assert told[0]["netline"]["packet"] == {"bytes": 3540, "segments": 4}


# --- what is none of the probe's ---


def test_other_traffic():
    """UDP, ICMP, ARP and neighbour discovery, and TCP packets that are for others: the host passes them on."""
    with lab("10.77.0.2", True) as there, Namespace() as beyond, delays_agent(ns=there.there) as agent:
        pass_on(there, beyond)
        before = forwarded(there.there)
        for ip in ("10.79.0.2", "fd79::2"):
            with listen(beyond, ip) as listener, tcp_socket(there.here, ip) as client:
                client.connect(listener.getsockname()[:2])
                with listener.accept()[0] as server:
                    echo(client, server, 50)
        for ip in ("10.77.0.2", "fd77::2"):
            there.here.run(["ip", "neigh", "flush", "dev", "far0"])
            ping(there.here, ip, 10)
            datagrams(there.here, there.there, ip, 100)
        with joined(there) as (client, server):
            echo(client, server, 10)
        found, _ = finish(agent, there)
        assert forwarded(there.there) - before >= 4 * 50
    assert {r["destination"]["port"] for r in found} == {there.port} and ends_of(found)["read"] == 10


def forwarded(ns):
    """Packets that the namespace has passed on, of both families."""
    lines = [line.split() for name in ("snmp", "snmp6") for line in ns.run(["cat", f"/proc/net/{name}"]).stdout.splitlines()]
    ip = [words for words in lines if words[0] == "Ip:"]
    return int(ip[1][ip[0].index("ForwDatagrams")]) + next(int(words[1]) for words in lines if words[0] == "Ip6OutForwDatagrams")


def ping(ns, ip, count):
    """Echo requests; each is answered before the next."""
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if ":" in ip else (socket.AF_INET, socket.IPPROTO_ICMP)
    request, answer = (128, 129) if ":" in ip else (8, 0)
    with in_namespace_of(ns, lambda: socket.socket(family, socket.SOCK_RAW, protocol)) as raw:
        raw.settimeout(10)
        for number in range(count):
            rest = struct.pack("!HH", os.getpid() & 0xffff, number)
            raw.sendto(struct.pack("!BBH", request, 0, checksum(struct.pack("!BBH", request, 0, 0) + rest)) + rest, (ip, 0))
            while (data := raw.recv(1000))[0 if ":" in ip else 20] != answer or data[-4:] != rest:
                pass


def datagrams(here, there, ip, count):
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with in_namespace_of(there, lambda: socket.socket(family, socket.SOCK_DGRAM)) as receiver, \
            in_namespace_of(here, lambda: socket.socket(family, socket.SOCK_DGRAM)) as sender:
        receiver.bind((ip, 0))
        for _ in range(count):
            sender.sendto(b"x", receiver.getsockname()[:2])
            assert receiver.recv(10) == b"x"


# --- namespaces ---


def test_all_namespaces():
    """With --netns all packets of other namespaces are told, of those that were there before and of those made since; else of the own only."""
    with contextlib.ExitStack() as stack:
        before = stack.enter_context(lab())
        every, own = stack.enter_context(delays_agent("--netns", "all")), stack.enter_context(delays_agent(ns=before.there))
        since = [stack.enter_context(lab("::1")), stack.enter_context(lab("10.77.0.2", True))]
        for there in (before, *since):
            if there is not before:
                wait_until_watched(every, there)
            there.counted = received(there.there)
            with joined(there) as (client, server):
                echo(client, server, 20)
            for ns in {there.here, there.there}:
                wait_for_no_sockets(ns)
            there.counted = received(there.there) - there.counted
        records = every.stop()
        for there in (before, *since):
            ports = {there.port, there.client_port}  # both: what was refused before may have had one of them
            found = [r for r in in_namespace(records, there.there) if {r["source"]["port"], r["destination"]["port"]} == ports]
            assert len(found) == there.counted, there.ip
            assert_records(found, there, way_of(records))
            assert ends_of(found)["read"] == (20 if there.interface == "near0" else 40)
        told = {r["netline"]["socket"]["netns"] for r in of_dataset(own.stop(), "delay_analysis_in")}
        assert told == {str(before.there.inum)}
    assert_loss_equation(records, "delay_analysis_in")


def wait_until_watched(agent, there):
    """netline has noticed a new namespace: what is refused there is told."""
    def is_told():
        with tcp_socket(there.here, there.ip) as client:
            assert client.connect_ex((there.ip, 1)) == errno.ECONNREFUSED
        return in_namespace(agent.records(), there.there)

    wait_until(is_told, 20, "a record of a new namespace")
