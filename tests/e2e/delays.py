# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of both delay analyses have: what is on the wire (tcpdump), what netfilter counts, and summaries."""
import re

from captures import Tcpdump
from harness import of_dataset, wait_until
from segments import FIN, flag_text

FIRST_BUCKET_NS = 256  # what is less is in the first bucket of a histogram


class Capture(Tcpdump):
    def __init__(self, ns, name, path):
        super().__init__(ns, path / f"{ns.name}-{name}.pcap", name, ["tcp"])

    def wait_for(self, n):
        """Waits until it has written n packets, and returns them: more of them are wrong."""
        wait_until(lambda: len(self.packets()) >= n, 20, lambda: f"{n} captured packets: there are {len(self.packets())}")
        assert len(self.packets()) == n, f"{len(self.packets())} captured packets, but {n} counted"
        return self.packets()


def retransmissions(packets):
    """For each packet in the order of the capture: whether it has data, or a SYN or FIN, that an earlier one of its flow had."""
    told, ends = [], {}
    for packet in packets:
        end = ends.get(packet.flow)
        told.append(bool(packet.length) and end is not None and (packet.seq - end) % 2**32 >= 1 << 31)
        after = (packet.seq + packet.length) % 2**32
        if end is None or (after - end) % 2**32 < 1 << 31:
            ends[packet.flow] = after
    return told


def by_time_wait(packets, late):
    """
    For each packet in the order of the capture: whether a socket of TIME_WAIT has sent it, which nobody owns. `late`: the ports of each connection
    that its client had left to TIME_WAIT when the server closed, as the client has them; what it sends after the server's FIN is of TIME_WAIT.
    """
    told, over = [], set()
    for packet in packets:
        told.append(packet.flow in over)
        if packet.flags & FIN and (packet.dport, packet.sport) in late:
            over.add((*packet.flow[2:], *packet.flow[:2]))
    return told


def joined(packets, wanted):
    """
    Packets that the kernel has cut on their way to the NIC, put together as TCP had sent them: wanted(packet) is the length of what begins
    with this one, as someone says it was, or None.
    """
    found, last = [], {}  # flow: (number of the last one in `found`, its length when it is whole)
    for packet in packets:
        number, whole = last.get(packet.flow, (None, 0))
        before = found[number] if number is not None else None
        if before and before.bytes < whole and packet.seq == (before.seq + before.payload) % 2**32:
            found[number] = before._replace(bytes=before.bytes + packet.payload, payload=before.payload + packet.payload,
                                            flags=before.flags | packet.flags)
        else:
            last[packet.flow] = (len(found), wanted(packet) or packet.bytes)
            found.append(packet)
    return found


def nft(ns, *lines):
    ns.run(["nft", "-f", "-"], input="\n".join(lines) + "\n")


class TcpCounters:
    """netfilter's counters of the namespace's TCP packets: on the way out, behind all other rules, and on the way in, before them. Of all ports or one."""

    def __init__(self, ns, port=None):
        self._ns, self._table = ns, f"watch{port or ''}"
        matches = [f"tcp {side} {port}" for side in ("sport", "dport")] if port else ["meta l4proto tcp"]
        nft(ns, f"add table inet {self._table}", f"add chain inet {self._table} out {{ type filter hook output priority 300; }}",
            f"add chain inet {self._table} in {{ type filter hook prerouting priority -310; }}",
            *(f"add rule inet {self._table} {chain} {match} counter" for chain in ("out", "in") for match in matches))

    def _read(self, chain):
        """(packets, bytes)."""
        shown = self._ns.run(["nft", "list", "chain", "inet", self._table, chain]).stdout
        return tuple(map(sum, zip(*(map(int, each) for each in re.findall(r"packets (\d+) bytes (\d+)", shown)))))

    @property
    def sent(self):
        return self._read("out")

    @property
    def received(self):
        return self._read("in")


class Drop:
    """While it lasts, packets that match are dropped at a hook; `count` tells how many were."""

    def __init__(self, ns, hook, match):
        self._ns = ns
        nft(ns, "add table inet drops", f"add chain inet drops c {{ type filter hook {hook} priority 0; }}",
            f"add rule inet drops c {match} counter drop")

    @property
    def count(self):
        return int(re.search(r"counter packets (\d+)", self._ns.run("nft list chain inet drops c".split()).stdout)[1])

    def wait_for(self, n):
        wait_until(lambda: self.count >= n, 20, f"{n} dropped packets")

    def end(self):
        nft(self._ns, "delete table inet drops")


# --- summaries ---


def summaries(records, ns, direction, stage=None):
    """The records of a namespace and a direction, of all stages or one."""
    return [r for r in of_dataset(records, "delay_analysis_summary") if r["netline"]["socket"]["netns"] == str(ns.inum)
            and r["network"]["direction"] == direction and stage in (None, r["netline"]["delay"]["stage"])]


def count_of(found):
    return sum(r["netline"]["delay"]["count"] for r in found)


def bucket_bounds(value):
    """(smallest, first too large) of the bucket with this middle: four of them for each power of two from 256 on."""
    if value < FIRST_BUCKET_NS:
        return 0, FIRST_BUCKET_NS
    width = 1 << (value.bit_length() - 3)
    return value - width // 2, value + width // 2


def assert_summary(record):
    """One record by itself: what it says of its packets can be so."""
    delay = record["netline"]["delay"]
    values, counts = delay["histogram"]["values"], delay["histogram"]["counts"]
    assert len(values) == len(counts) and values == sorted(set(values)) and all(n > 0 for n in counts), record
    assert delay["count"] == sum(counts) > 0, record
    assert 0 <= delay["min_ns"] <= delay["sum_ns"] / delay["count"] <= delay["max_ns"], record
    for value, extreme in ((values[0], delay["min_ns"]), (values[-1], delay["max_ns"])):
        low, end = bucket_bounds(value)
        assert low <= extreme < end, record
    low, high = (sum(n * bucket_bounds(value)[side] for value, n in zip(values, counts)) for side in (0, 1))
    slack = delay["max_ns"]  # a packet may be in the sum of one record and in the bucket of the next
    assert low - slack <= delay["sum_ns"] <= high + slack, record


def percentile_of(found, share):
    """The middle of the bucket below whose end this share of all packets is."""
    merged = {}
    for record in found:
        histogram = record["netline"]["delay"]["histogram"]
        for value, n in zip(histogram["values"], histogram["counts"]):
            merged[value] = merged.get(value, 0) + n
    left = share * sum(merged.values())
    for value, n in sorted(merged.items()):
        left -= n
        if left <= 0:
            return value
    raise AssertionError("no packets")


def flags_of(packet):
    return flag_text(packet.flags)
