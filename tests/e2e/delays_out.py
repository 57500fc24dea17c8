# SPDX-License-Identifier: BSD-2-Clause
"""Holds delay_analysis_out records against the packets that a capture has."""
import collections
import contextlib
import os

from connections import assert_within, timestamp
from delays import Capture, TcpCounters, flags_of, joined, retransmissions
from harness import PREEMPTS_TRACEPOINTS, Agent, Namespace, assert_loss_equation, of_dataset, veth
from puppet import Puppet
from transfers import Talk, wait_for_no_sockets

PROBE = "delay_analysis_out"
STAGES = ("tcp_ns", "ip_ns", "qdisc_ns")
IPS = ["127.0.0.1", "::1", "::ffff:127.0.0.1"]
TURNS = ((100, 200), (3, 100_000), (300_000, 7), (1, 1))  # bytes from client to server, and back


def out_agent(*args, **kw):
    return Agent(*args, PROBE, **kw)


def in_namespace(records, ns):
    return [r for r in of_dataset(records, PROBE) if r["netline"]["socket"]["netns"] == str(ns.inum)]


def flow_of(record):
    return record["source"]["ip"], record["source"]["port"], record["destination"]["ip"], record["destination"]["port"]


def told_of(record):
    """As of_packet() has it."""
    tcp, packet = record["netline"]["tcp"], record["netline"]["packet"]
    return *flow_of(record), tcp["seq"], tcp["ack"], tcp.get("flags", ""), packet["bytes"], packet["retransmitted"]


def of_packets(packets, found=()):
    """What is to be told of captured packets. `found`: the records, which say what was one packet before the kernel cut it; the sizes prove it."""
    sizes = collections.defaultdict(collections.deque)
    for record in found:
        sizes[*flow_of(record), record["netline"]["tcp"]["seq"], record["netline"]["tcp"]["ack"]].append(record["netline"]["packet"]["bytes"])

    def size_of(packet):
        left = sizes[*packet.flow, packet.seq, packet.ack]
        return left.popleft() if left else None

    packets = joined(packets, size_of)
    return [(*p.flow, p.seq, p.ack, flags_of(p), p.bytes, again) for p, again in zip(packets, retransmissions(packets))]


def lost_so_far(records):
    """What the records tell of the probe's losses, of packets or of summaries."""
    totals = {r["event"]["reason"]: r["netline"]["lost"]["count_total"] for r in of_dataset(records, "agent_lost")
              if r["netline"]["lost"]["dataset"] in (f"netline.{PROBE}", "netline.delay_analysis_summary")}
    return sum(totals.values())


def has_all(records, found, n):
    """Whether n packets have their records, or are told as lost."""
    return len(found) + lost_so_far(records) >= n


def finish(agent, ns, counters):
    """Ends the run when there is a record for each packet that was counted on the way out: (the namespace's packets, all records)."""
    n = counters.sent[0]
    agent.wait_for(lambda records: has_all(records, in_namespace(records, ns), n), 20)
    records = agent.stop()
    return in_namespace(records, ns), records


def assert_same(records, told, packets):
    """
    A record each, and none that is of no packet. `told` and `packets` are of the same shape. Where tracepoints are preempted some may be
    missing, but no more than were counted as lost. Returns the probe's counters.
    """
    counters = assert_loss_equation(records, PROBE)
    assert counters["lost"] == 0 or PREEMPTS_TRACEPOINTS, counters
    told, packets = collections.Counter(told), collections.Counter(packets)
    assert not told - packets, f"records of no packet: {told - packets}; packets without a record: {packets - told}"
    missing = sum((packets - told).values())
    assert missing <= counters["lost"], f"{missing} packets without a record, {counters}: {packets - told}"
    return counters


def assert_packet(record):
    """What holds for every record: of a stage that has no stamp nothing is told, nor of the sum."""
    delay = record["netline"]["delay"]
    stages = [delay.get(name) for name in STAGES]
    assert all(stage is None or stage >= 0 for stage in stages), record
    assert record["event"].get("duration") == (None if None in stages else sum(stages)), record
    assert record["network"]["type"] == ("ipv6" if ":" in record["source"]["ip"] else "ipv4"), record
    assert (record["network"]["transport"], record["network"]["direction"]) == ("tcp", "egress")
    assert record["netline"]["packet"]["segments"] >= 1


def assert_packets(found, start, end, interface):
    """The records of a test that ran from start to end, ns of UTC: each by itself, and a socket's in the order of their numbers."""
    last = {}
    for record in found:
        assert_packet(record)
        assert record["network"]["interface"]["name"] == interface
        assert_within(timestamp(record), start, end)
        assert timestamp(record) >= last.get(flow_of(record), 0), "a socket sends one packet after the other"
        last[flow_of(record)] = timestamp(record)


def assert_complete(found):
    """Every stage of every packet is known; but a connection in TIME_WAIT puts no stamp on its ACKs."""
    incomplete = [r for r in found if any(name not in r["netline"]["delay"] for name in STAGES)
                  and not (r["netline"]["tcp"]["flags"] == "ACK" and r["netline"]["packet"]["bytes"] <= 72)]
    assert not incomplete, f"{len(incomplete)} of {len(found)}: {incomplete[:5]}"


@contextlib.contextmanager
def on_one_cpu():
    """This thread stays on the CPU on which Lo's processes are: its sockets' timers as well."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Lo:
    """Two puppets on loopback, a capture of it, and netfilter's counters. All on one CPU: between CPUs loopback does not keep the order."""

    def __init__(self, stack, path):
        self.ns = stack.enter_context(Namespace())
        self.server, self.client = Puppet(self.ns, "server"), Puppet(self.ns, "client")
        self.late = set()  # as by_time_wait() has it
        self._stay_on_one_cpu()
        self.counters = TcpCounters(self.ns)
        self.capture = stack.enter_context(Capture(self.ns, "lo", path))

    def _stay_on_one_cpu(self):
        """
        And keep it busy: on some machines the kernel runs no BPF program where a timer interrupts a process of the machine's manager. That one
        goes to an idle CPU.
        """
        processes = [self.server.pid, self.client.pid]
        if len(os.sched_getaffinity(0)) > 1:
            busy = self.ns.popen(["nice", "sh", "-c", "while :; do :; done"])
            processes.append(busy.pid)
        for pid in processes:
            os.sched_setaffinity(pid, {min(os.sched_getaffinity(0))})

    def talk(self, ip, turns=TURNS, port=0, local_port=None, late=False):
        """A connection from the first packet to the last; returns it. `late`: TIME_WAIT answers the server's FIN, else the client's socket."""
        listener, port = self.server.listen(6, port)
        talk = Talk(self.client, self.server, listener, ip, port, local_port=local_port)
        for up, down in turns:
            talk.move(up, down)
        if late:
            talk.finish(late=True)
            self.late.add((talk.connected.local_port, port))
        else:
            talk.finish_half_closed()
        self.server.close(listener)
        return talk

    def all_packets(self):
        """When all connections have ended: what was captured, and that is what was counted on the way in."""
        wait_for_no_sockets(self.ns)
        return self.capture.wait_for(self.counters.received[0])

    def finish(self, agent):
        return finish(agent, self.ns, self.counters)


@contextlib.contextmanager
def loopback(path):
    with contextlib.ExitStack() as stack:
        yield Lo(stack, path)


class Link:
    """A veth link with a client here and a server there; a capture of both ends, and netfilter's counters. What is sent here is in order here."""

    def __init__(self, stack, path):
        self.here, self.there = stack.enter_context(Namespace()), stack.enter_context(Namespace())
        veth(self.here, self.there)
        self.client, self.server = Puppet(self.here, "client"), Puppet(self.there, "server")
        self.counters = TcpCounters(self.here), TcpCounters(self.there)
        self._captures = [stack.enter_context(Capture(ns, "eth0", path)) for ns in (self.here, self.there)]

    def all_packets(self):
        """
        When all connections have ended: what was captured here and there, which is what netfilter has counted on the way in on both sides, if
        there was nothing on loopback. What the kernel has cut on its way is in pieces.
        """
        self.wait_for_ends()
        n = sum(watch.received[0] for watch in self.counters)
        return tuple(capture.wait_for(n) for capture in self._captures)

    def wait_for_ends(self):
        for ns in (self.here, self.there):
            wait_for_no_sockets(ns)

    def finish(self, agent):
        """Of what leaves here."""
        return finish(agent, self.here, self.counters[0])


@contextlib.contextmanager
def link(path):
    with contextlib.ExitStack() as stack:
        yield Link(stack, path)
