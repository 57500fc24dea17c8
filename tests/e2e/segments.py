# SPDX-License-Identifier: BSD-2-Clause
"""TCP segments made by hand, and what a connection's kernel side expects: so that a test can send what no kernel would."""
import ctypes
import fcntl
import ipaddress
import os
import socket
import struct
import termios
import threading

FIN, SYN, RST, PSH, ACK, URG = (1 << bit for bit in range(6))
OLD = -(1 << 30)  # a number before all that a window or a clock's tolerance takes
FLAG_NAMES = ["CWR", "ECE", "URG", "ACK", "PSH", "RST", "SYN", "FIN"]

CLONE_NEWNET = 0x40000000
SYS_PIDFD_GETFD = 438
IPV6_HDRINCL = 36
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_TIMESTAMP, TCP_REPAIR_OFF_NO_WP = 19, 20, 21, 24, -1
RECEIVE_QUEUE, SEND_QUEUE = 1, 2
STATES = ["", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"]
LIBC = ctypes.CDLL(None, use_errno=True)


def in_namespace_of(ns, make):
    """What make() returns when it is called in that namespace: sockets stay in it."""
    made = []

    def work():
        with open(f"/run/netns/{ns.name}", encoding="ascii") as file:
            if LIBC.setns(file.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        made.append(make())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return made[0]


def timestamps(value, echo):
    """The option, with its padding."""
    return struct.pack("!BBBBII", 1, 1, 8, 10, value % 2**32, echo % 2**32)


def flag_text(flags):
    return "|".join(name for bit, name in zip(range(7, -1, -1), FLAG_NAMES) if flags & 1 << bit)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[:len(data) & ~1])) + (data[-1] << 8 if len(data) % 2 else 0)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def tcp(source, destination, ports, seq=0, ack=0, flags=ACK, *, payload=b"", options=b"", data_offset=None, window=1000, good=True, cut=None):
    """A segment's bytes. data_offset in words; good=False: a wrong checksum; cut: only so many bytes of it."""
    offset = (20 + len(options)) // 4 if data_offset is None else data_offset
    segment = struct.pack("!HHIIBBHHH", *ports, seq % 2**32, ack % 2**32, offset << 4, flags, window, 0, 0) + options + payload
    segment = segment[:cut]
    pseudo = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed + struct.pack("!II", len(segment), 6)
    if len(segment) >= 18:
        right = checksum(pseudo + segment)
        segment = segment[:16] + struct.pack("!H", right if good else right ^ 0x5555) + segment[18:]
    return segment


class Sender:
    """Sends segments from a namespace, with whatever addresses."""

    def __init__(self, ns):
        self._ns = ns
        self._sockets = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self._sockets.values():
            each.close()

    def socket(self, version):
        if version not in self._sockets:
            family = socket.AF_INET if version == 4 else socket.AF_INET6
            made = in_namespace_of(self._ns, lambda: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW))
            if version == 6:
                made.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
            self._sockets[version] = made
        return self._sockets[version]

    def packet(self, source, destination, segment):
        """The whole IP packet."""
        a, b = ipaddress.ip_address(source), ipaddress.ip_address(destination)
        if a.version == 4:
            return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0) + a.packed + b.packed + segment
        return struct.pack("!IHBB", 6 << 28, len(segment), 6, 64) + a.packed + b.packed + segment

    def send(self, source, destination, segment):
        """Returns the packet's length in bytes."""
        packet = self.packet(source, destination, segment)
        address = (destination, 0) if ":" not in destination else (destination, 0, 0, 0)
        self.socket(6 if ":" in destination else 4).sendto(packet, address)
        return len(packet)


class Peek:
    """The kernel's side of a puppet's socket, by a descriptor of our own."""

    def __init__(self, puppet, fd):
        pidfd = os.pidfd_open(puppet.pid)
        got = LIBC.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0)
        os.close(pidfd)
        assert got >= 0, os.strerror(ctypes.get_errno())
        self.socket = socket.socket(fileno=got)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _queue_seq(self, queue):
        self.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
            return self.socket.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) % 2**32
        finally:
            self.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP)

    @property
    def state(self):
        return STATES[self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]]

    @property
    def unacknowledged(self):
        """How many bytes of what it was given are not yet acknowledged."""
        return struct.unpack("=i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))[0]

    @property
    def expected(self):
        """The sequence number that it expects next."""
        return self._queue_seq(RECEIVE_QUEUE)

    @property
    def sent(self):
        """The sequence number after what it has sent."""
        return self._queue_seq(SEND_QUEUE)

    @property
    def timestamp(self):
        """What it would put into a timestamp option now."""
        return self.socket.getsockopt(socket.IPPROTO_TCP, TCP_TIMESTAMP) % 2**32


class Connection:
    """A connection of two puppets, `client` to `server`; what send() sends comes from the client's addresses, and goes to the server's socket."""

    def __init__(self, sender, server, client, ip, *, listener=None, local=None, accept=True):
        self.server, self.client, self._sender = server, client, sender
        self.listener, self.port = listener or server.listen(6 if ":" in ip else 4)
        self.connected = client.connect(ip, self.port)
        assert self.connected.result == 0, self.connected
        self.accepted = server.accept(self.listener) if accept else None
        self.source = (self.connected.local.removeprefix("::ffff:"), self.connected.local_port)
        self.destination = (self.connected.remote.removeprefix("::ffff:"), self.port)
        if accept:
            with Peek(server, self.accepted.fd) as peek:
                self.expected, self.sent = peek.expected, peek.sent

    def send(self, seq=0, ack=0, flags=ACK, *, late=False, **kw):
        """Numbers count from what the server expects and has sent; late: with a timestamp of long ago. Returns what a record has to say of it: (bytes, seq, ack, flags)."""
        if late:
            with Peek(self.client, self.connected.socket) as peek:
                kw["options"] = timestamps(peek.timestamp + OLD, 0)
        seq, ack = (self.expected + seq) % 2**32, (self.sent + ack) % 2**32 if flags & ACK else 0
        segment = tcp(self.source[0], self.destination[0], (self.source[1], self.destination[1]), seq, ack, flags, **kw)
        return {"bytes": self._sender.send(self.source[0], self.destination[0], segment), "seq": seq, "ack": ack, "flags": flag_text(flags)}


def counters(ns):
    """The namespace's TCP counters: InErrs, InCsumErrors, ListenOverflows, ..."""
    found = {}
    for name in ("snmp", "netstat"):
        lines = ns.run(["cat", f"/proc/net/{name}"]).stdout.splitlines()
        for names, values in zip(lines[::2], lines[1::2]):
            if names.startswith(("Tcp:", "TcpExt:")):
                found.update(zip(names.split()[1:], map(int, values.split()[1:])))
    return found
