# SPDX-License-Identifier: BSD-2-Clause
"""What is on the wire: tcpdump on a NIC, from when it listens, and the packets in its file."""
import re
import signal
import socket
import struct
import subprocess
from typing import NamedTuple

from segments import FIN, SYN

PCAP_NANOSECONDS, ETHERNET = 0xa1b23c4d, 1
MAC_HEADER = 14


class Packet(NamedTuple):
    """A TCP packet as tcpdump has it; bytes from the IP header on; time in ns of UTC."""

    time: int
    source: str
    sport: int
    destination: str
    dport: int
    seq: int
    ack: int
    flags: int
    bytes: int
    payload: int

    @property
    def flow(self):
        return self.source, self.sport, self.destination, self.dport

    @property
    def length(self):
        """Of sequence numbers."""
        return self.payload + bool(self.flags & SYN) + bool(self.flags & FIN)


def parse_packet(time, raw, length):
    """Of a frame: no VLAN, no IPv6 extension headers. The length in an IP header is none above 64 KiB."""
    kind, = struct.unpack_from("!H", raw, 12)
    if kind == 0x0800:
        ip, family, addresses = (raw[MAC_HEADER] & 15) * 4, socket.AF_INET, raw[26:34]
    else:
        assert kind == 0x86dd and raw[MAC_HEADER + 6] == socket.IPPROTO_TCP, raw
        ip, family, addresses = 40, socket.AF_INET6, raw[22:54]
    middle, at = len(addresses) // 2, MAC_HEADER + ip
    sport, dport, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", raw, at)
    source, destination = (socket.inet_ntop(family, each) for each in (addresses[:middle], addresses[middle:]))
    return Packet(time, source, sport, destination, dport, seq, ack, flags, length - MAC_HEADER, length - at - (offset >> 4) * 4)


class Tcpdump:
    """Of a packet that the NIC is to cut it sees the whole. `only`: a filter, in tcpdump's words."""

    def __init__(self, namespace, path, name="eth0", only=()):
        self._namespace, self._path, self._name, self._only = namespace, path, name, only
        self._frames, self._at = [], 24

    def __enter__(self):
        self._process = self._namespace.popen(
            ["tcpdump", "-Z", "root", "-i", self._name, "-n", "-U", "--immediate-mode", "--time-stamp-precision=nano", "-s", "160",
             "-B", "32768", "-w", self._path, *self._only], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while "listening on" not in (line := self._process.stderr.readline()):
            assert line, "tcpdump has ended"
        return self

    def __exit__(self, kind, *_):
        self._process.send_signal(signal.SIGINT)
        told = self._process.communicate(timeout=10)[1]
        assert kind or re.search(r"^0 packets dropped by kernel", told, re.M), told

    def timed_frames(self):
        """(ns of UTC, raw, length on the wire) of all that it has written so far."""
        data = self._path.read_bytes() if self._path.exists() else b""
        if len(data) >= 24:
            assert struct.unpack_from("<I16xI", data) == (PCAP_NANOSECONDS, ETHERNET), "not a little-endian pcap file of Ethernet"
        while self._at + 16 <= len(data):
            seconds, nanoseconds, caught, length = struct.unpack_from("<IIII", data, self._at)
            end = self._at + 16 + caught
            if end > len(data):
                break
            self._frames.append((seconds * 10**9 + nanoseconds, data[self._at + 16:end], length))
            self._at = end
        return self._frames

    def frames(self):
        return [(raw, length) for _, raw, length in self.timed_frames()]

    def packets(self):
        """All of TCP so far, as Packet; the filter must leave nothing else."""
        return [parse_packet(*frame) for frame in self.timed_frames()]
