# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_out where packets wait: tbf lets so many bytes a second through, so that the time of each packet of a burst is known."""
import contextlib
import statistics
import time
from typing import NamedTuple

import pytest

from captures import MAC_HEADER
from connections import CLOCK_TOLERANCE, assert_within, timestamp
from delays import Capture, assert_summary, count_of, percentile_of, summaries
from delays_out import PROBE, assert_packet, in_namespace, out_agent
from harness import SCALE, Namespace, assert_loss_equation, events, veth
from inerrs import connected_pair

IPS = {"ipv4": "10.77.0.2", "ipv6": "fd77::2", "v4-mapped": "::ffff:10.77.0.2"}
RATE, BURST = 500_000 // SCALE, 5_000  # bytes a second, and bytes that need not wait
PACKETS, SIZE = 150, 1400  # bytes of payload, one packet each: 0.43 s in all, longer than it takes to send them
MIN_LATENCY = 200_000_000
SKIPPED = PACKETS // 20  # what leaves while a task is interrupted in which the kernel runs no programs; netline need not know of it yet


class Sent(NamedTuple):
    """Of one packet: both ports (several connections may have the same one here), and ns of UTC before and after the call that sent it."""

    ports: tuple
    before: int
    after: int


def connected_pairs(stack, here, there, ip):
    """Connections on each of which a packet can be sent at once. Their timers are slow: what waits is not sent again."""
    for route in (["10.77.0.0/24"], ["fd77::/64", "metric", 256]):
        here.run(["ip", "route", "change", *route, "dev", "eth0", "proto", "kernel", "rto_min", "10s"])
    pairs = [connected_pair(here, there, ip) for _ in range(PACKETS)]
    for each in sum(pairs, ()):
        stack.enter_context(each)
    return pairs


def ports_of(record):
    return record["source"]["port"], record["destination"]["port"]


def send_all(pairs):
    sent = []
    for client, _ in pairs:
        before = time.time_ns()
        assert client.send(bytes(SIZE)) == SIZE
        sent.append(Sent((client.getsockname()[1], client.getpeername()[1]), before, time.time_ns()))
    return sent


def earliest(number, length):
    """ns from the first packet's arrival at tbf until this one may leave."""
    return max(0, (number + 1) * length - BURST) * 10**9 // RATE


def assert_waited(record, sent, arrived, earliest_ns):
    """What a packet's record tells of its time: all of it lies between the call that sent it and its arrival, and tbf has had its share."""
    delay = record["netline"]["delay"]
    assert_packet(record)
    assert_within(timestamp(record), sent.before, arrived)
    assert record["event"]["duration"] <= arrived - sent.before + CLOCK_TOLERANCE, record
    assert delay["qdisc_ns"] >= earliest_ns, record


class Burst:
    """So many packets sent at once through tbf, and their arrival at the other side: {both ports: ns of UTC}."""

    def __init__(self, stack, path, ip, agents):
        self.here, self.there = stack.enter_context(Namespace()), stack.enter_context(Namespace())
        veth(self.here, self.there)
        pairs = connected_pairs(stack, self.here, self.there, ip)
        capture = stack.enter_context(Capture(self.there, "eth0", path))
        self.agents = [stack.enter_context(out_agent(*args, ns=self.here)) for args in agents]
        self.here.run(f"tc qdisc add dev eth0 root tbf rate {RATE * 8} burst {BURST} limit 10mb".split())
        self.sent = send_all(pairs)
        for _, server in pairs:
            server.settimeout(20)
            assert len(server.recv(SIZE)) == SIZE
        packets = [p for p in capture.wait_for(2 * PACKETS) if p.payload]
        assert len(packets) == PACKETS
        self.arrived = {(p.sport, p.dport): p.time for p in packets}
        self.length = packets[0].bytes + MAC_HEADER


@pytest.mark.any_way  # the queue is seen by tracepoints in every way
@pytest.mark.parametrize("ip", IPS.values(), ids=IPS)
def test_tbf(ip, tmp_path):
    """Each packet's time in the queue; all three at once, so that they tell of the same packets: each packet, those that were slow, and summaries."""
    with contextlib.ExitStack() as stack:
        burst = Burst(stack, tmp_path, ip, [[], ["--min-latency", MIN_LATENCY], ["--summary", "--interval", "0.1"]])
        records = burst.agents[0].stop()
        assert_loss_equation(records, PROBE)
        found = {ports_of(r): r for r in in_namespace(records, burst.here)}
        assert PACKETS - SKIPPED <= len(found) == len(in_namespace(records, burst.here))
        told = [(number, sent) for number, sent in enumerate(burst.sent) if sent.ports in found]
        for number, sent in told:
            late = sent.after - burst.sent[0].before + CLOCK_TOLERANCE
            assert_waited(found[sent.ports], sent, burst.arrived[sent.ports], earliest(number, burst.length) * 0.98 - late)
        assert_last(found, burst, *told[-1])
        for stage in ("tcp_ns", "ip_ns"):
            assert statistics.median(r["netline"]["delay"][stage] for r in found.values()) < MIN_LATENCY / 20
        assert_slow_ones(burst.agents[1].stop(), burst.here, found.values())
        assert_summed_up(burst.agents[2].stop(), burst.here, found.values())


def assert_last(found, burst, number, sent):
    """Nearly the whole of the burst was before it, and nearly all of its time it has waited."""
    waited = found[sent.ports]["netline"]["delay"]["qdisc_ns"]
    assert waited >= 0.8 * (burst.arrived[sent.ports] - sent.before)
    assert waited >= 0.8 * earliest(number, burst.length) - (sent.after - burst.sent[0].before)


def assert_slow_ones(records, ns, all_packets):
    """--min-latency: another netline, whose stamps are a little earlier or later."""
    told, counted = in_namespace(records, ns), assert_loss_equation(records, PROBE)
    durations = {ports_of(r): r["event"]["duration"] for r in all_packets}
    assert told and all(r["event"]["duration"] >= MIN_LATENCY for r in told)
    assert PACKETS - SKIPPED <= counted["filtered"] + len(told) <= PACKETS and counted["filtered"]
    slow = {ports_of(r) for r in told}
    assert not [ports for ports, duration in durations.items() if duration < 0.8 * MIN_LATENCY and ports in slow]
    assert len([ports for ports, duration in durations.items() if duration >= 1.2 * MIN_LATENCY and ports not in slow]) <= SKIPPED


def assert_summed_up(records, ns, all_packets):
    """--summary: the packets are in each stage, and the quantiles are those of the packets, as far as a bucket can tell."""
    counted = events(records, PROBE)
    assert PACKETS - SKIPPED <= counted["emitted"] == counted["produced"] - counted["lost"] <= PACKETS and not counted["filtered"]
    for record in summaries(records, ns, "egress"):
        assert_summary(record)
    for stage in ("tcp", "ip", "qdisc", "total"):
        assert count_of(summaries(records, ns, "egress", stage)) == counted["emitted"], stage
    found = summaries(records, ns, "egress", "qdisc")
    exact = sorted(r["netline"]["delay"]["qdisc_ns"] for r in all_packets)
    for share in (0.5, 0.9, 0.99):
        assert percentile_of(found, share) == pytest.approx(exact[int(share * len(exact)) - 1], rel=0.25), share
    assert max(r["netline"]["delay"]["max_ns"] for r in found) == pytest.approx(exact[-1], rel=0.1)
