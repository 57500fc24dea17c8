# SPDX-License-Identifier: BSD-2-Clause
"""The outputs: what writing a record to a file, a pipe or a socket costs netline, beside write(2) of the same lines and nothing else."""
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import tempfile
import time

import lab
from lab import Netline, Pairs, neighbours, tool

LINES = lab.BUILD / "tests" / "bench" / "lines"
SINKS = "file", "pipe", "socket"
# Beside the plain writes netline reads events and encodes them, and sends lines that are still in the cache, which those of a file are not.
EACH = "a write(2) for each line"
WAYS = {EACH: 0, "64 KiB by each write(2)": 65536}
TRIPS = 20000      # over one connection, of two packets and so two records each
TRIP = 64, 64      # bytes there and back
FEW = 2500         # what rings of the default size have room for
WORKLOADS = {
    "tcp_connection": (["tcp_connection"], ("connect", 10000)),
    "both delay analyses": (["delay_analysis_in", "delay_analysis_out"], ("stream", TRIPS, *TRIP)),
}
DRAIN_LIMIT = 10
median = statistics.median


@contextlib.contextmanager
def folder():
    """On a disk, as logs are; all that is written is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="netline-bench-", dir="/var/tmp") as path:
        yield pathlib.Path(path)


def file_system(path):
    return subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", path], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()


class Output(Netline):
    """netline with one output, in a folder, and the reader that it needs."""

    def __init__(self, kind, place, *args, settings=()):
        self.kind, self.path, self.reader = kind, place / kind, None
        if kind == "socket":
            self.reader = read_socket(self.path)
        outputs = {"file": f"file:{self.path}", "socket": f"unix-connect:{self.path}"}
        super().__init__("-o", ",".join([outputs.get(kind, "stdout"), *settings]), *args, sink=kind)

    def _end(self):
        super()._end()
        if self.reader:
            self.found = [json.loads(self.reader.communicate(timeout=lab.STOP_LIMIT)[0])]

    def rest(self):
        """Until it has done all there was to do."""
        spent, end = -1, time.monotonic() + DRAIN_LIMIT
        while spent != self.cpu_ns() and time.monotonic() < end:
            spent = self.cpu_ns()
            time.sleep(lab.SETTLE)

    def end_ns(self):
        """When the sink had the last byte, CLOCK_REALTIME; None: it is the null device."""
        return os.stat(self.path).st_mtime_ns if self.kind == "file" else self.found[0]["end_ns"] if self.found else None


def read_socket(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    reader = lab.spawn([LINES, "read", path], stdout=subprocess.PIPE, text=True, bufsize=1)
    reader.stdout.readline()
    return reader


def plain(kind, place, lines, size):
    """(ns, CPU ns) for each line written without netline."""
    target, reader, path = subprocess.DEVNULL, None, place / f"plain-{kind}"
    if kind == "file":
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC)
    elif kind == "socket":
        reader = read_socket(path)
    else:
        reader = lab.spawn([LINES, "read"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        target = reader.stdin
    done = subprocess.run([LINES, "write", lines, str(size)] + [path] * (kind == "socket"), stdout=target, stderr=subprocess.PIPE, check=True,
                          timeout=lab.TOOL_LIMIT)
    wrote = json.loads(done.stderr)
    if kind == "file":
        os.close(target)
        os.unlink(path)
    if reader:
        read = json.loads(reader.communicate(timeout=lab.TOOL_LIMIT)[0])
        assert read["lines"] == wrote["lines"], f"{kind}: {wrote['lines']} lines written, {read['lines']} read"
        wrote["end_ns"] = read["end_ns"]
    return (wrote["end_ns"] - wrote["start_ns"]) / wrote["lines"], wrote["cpu_ns"] / wrote["lines"]


def beside(kind, place, lines):
    return {way: plain(kind, place, lines, size) for way, size in WAYS.items()}


def drain(netline):
    """(ns, CPU ns) for each record of a netline that is woken beside a ring full of events."""
    spent, start = netline.cpu_ns(), time.time_ns()
    netline.process.send_signal(signal.SIGCONT)
    netline.rest()
    spent = netline.cpu_ns() - spent
    netline.stop()
    records = netline.totals()[0]
    return ((netline.end_ns() or start) - start) / records, spent / records


def delivered_whole(netline):
    """Nothing was lost, and the reader has it all."""
    records, lost = netline.totals()
    assert records >= 2 * TRIPS, f"{netline.kind}: {records} records of {2 * TRIPS}"
    read = netline.found[0]["lines"] if netline.found else records
    assert not lost and read == records, f"{netline.kind}: {records} records, {lost} lost, {read} lines read"


@contextlib.contextmanager
def held(place, kinds, *args, trips=TRIPS, settings=()):
    """Subjects that stand still, each with the same events in its ring: the workload takes nothing from them, nor they from each other."""
    with contextlib.ExitStack() as stack:
        subjects = {}
        for kind in kinds:
            subject = Output(kind, place, *args, settings=settings if kind != "null" else ())
            subjects[kind] = stack.enter_context(subject)
            stack.callback(subject.process.send_signal, signal.SIGCONT)
        for subject in subjects.values():
            subject.process.send_signal(signal.SIGSTOP)
        tool("stream", trips, *TRIP)
        yield subjects


def full_rings(place, kinds):
    """Held with more events than the queues have room for, which block."""
    return held(place, kinds, "--ring-size", "16M", "delay_analysis_in", settings=("full=block", "agent=no"))


def record_lines(place):
    """A file of lines that netline wrote, and their mean length."""
    with full_rings(place, ["file"]) as subjects:
        drain(subjects["file"])
        delivered_whole(subjects["file"])
    lines = (place / "file").rename(place / "lines")
    return lines, lines.stat().st_size / subjects["file"].totals()[0]


def measure(rounds):
    """(netline's (ns, CPU ns) by sink, Pairs of both by sink and way of plain writing, bytes of a line, the file system)."""
    own = {kind: [] for kind in ("null", *SINKS)}
    pairs = {(kind, way): (Pairs(), Pairs()) for kind in SINKS for way in WAYS}
    with folder() as place:
        lines, size = record_lines(place)
        for i in range(rounds):
            with full_rings(place, own) as subjects:
                own["null"].append(drain(subjects["null"]))
                for kind in SINKS[i % 3:] + SINKS[:i % 3]:
                    before = beside(kind, place, lines)
                    own[kind].append(drain(subjects[kind]))
                    delivered_whole(subjects[kind])
                    after = beside(kind, place, lines)
                    for way in WAYS:
                        for pair, *values in zip(pairs[kind, way], before[way], own[kind][-1], after[way]):
                            pair.add(*values)
            (place / "file").unlink()
        return own, pairs, size, file_system(place)


def costs(report, rounds):
    """Netline's whole way from the ring to the sink, beside nothing but the writes."""
    own, pairs, size, disk = measure(rounds)
    report.section(f"A record to an output: netline woken beside {2 * TRIPS:,} events in its ring (delay_analysis_in, {size:.0f} bytes a line), "
                   f"and write(2) of the same lines and nothing else; {rounds} rounds, files on {disk}")
    null = median(cpu for _, cpu in own["null"])
    report.value("CPU of netline, to /dev/null", null, "ns")
    for kind in SINKS:
        ns, cpu = (median(values) for values in zip(*own[kind]))
        report.value(f"CPU of netline, to a {kind}", cpu, "ns", f"{cpu / null:.2f}x of that to /dev/null; {1e9 / ns:,.0f} records/s")
        for way in WAYS:
            wall, spent = pairs[kind, way]
            report.value(f"  {way}", median(spent.without), "ns", f"netline {median(spent.ratios):.2f}x, without what it takes to /dev/null "
                         f"{(cpu - null) / median(spent.without):.2f}x; {1e9 / median(wall.without):,.0f} lines/s, netline {1 / median(wall.ratios):.2f}x")
        report.bound(f"CPU of a record to a {kind}, of a bare write's", median(pairs[kind, EACH][1].ratios), "x", at_most=1.5, aim=1)


def burst(report):
    """What gathered while netline did not run: the loop encodes it faster than an output can take it."""
    with folder() as place, held(place, SINKS, "delay_analysis_in", "delay_analysis_out", trips=FEW) as subjects:
        for subject in subjects.values():
            drain(subject)
    report.section(f"A burst: {2 * FEW:,} events in each of two rings (the delay analyses), rings and outputs as they are by default")
    for kind, subject in subjects.items():
        records, lost = subject.totals()
        report.value(f"lost, {kind}", lost, "", f"of {records:,}")
        report.bound(f"lost of a burst that the ring has room for, {kind}", lost, "", at_most=0)


def status_of(path):
    """The last agent_status of each scope and name."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["event"]["dataset"] == "netline.agent_status":
            of = record["netline"]
            found[of["scope"], of.get(of["scope"], {}).get("name")] = of
    return found


def at_full_speed(kind, workload):
    """(records/s, CPU ns a record, records, lost as netline tells at its end, lost by the output's counters, highest fill of a ring in bytes)."""
    probes, argv = WORKLOADS[workload]
    walls = []     # of each run of the workload, without the parts in which it waited for others

    def work():
        parts = tool(*argv)[0]["part_ns"]
        walls.append(len(parts) * median(parts))
    with folder() as place:
        status = place / "status"
        with Output(kind, place, "-o", f"file:{status},probes=nic_throughput", *probes) as netline:
            spent = netline.cpu_ns()
            neighbours.apart(work)
            netline.rest()
            spent = netline.cpu_ns() - spent
            netline.stop()
        records, lost = netline.totals()
        told = status_of(status)
        output = next(of["output"] for (scope, name), of in told.items() if scope == "output" and name != f"file:{status}")
        peak = max(of["events"]["ring_peak_bytes"] for (scope, _), of in told.items() if scope == "probe")
        return records / sum(walls) * 1e9, spent / records, records, lost, output["lost"], peak


def ceiling(report, rounds):
    report.section(f"The highest rate of events that this machine makes, outputs as they are by default: median of {rounds} runs")
    runs = {(workload, kind): [] for workload in WORKLOADS for kind in SINKS}
    for _ in range(rounds):
        for workload, kind in runs:
            runs[workload, kind].append(at_full_speed(kind, workload))
    for (workload, kind), found in runs.items():
        rate, cpu, records, lost, by_output, peak = zip(*found)
        report.value(f"{workload}, {kind}", median(rate), "/s", f"records; {sum(lost):,} of {sum(records):,} lost (agent_status, by the output: "
                     f"{sum(by_output):,}); CPU {median(cpu):,.0f} ns a record; highest fill of a ring {max(peak) / 1024:.0f} KiB of 1,024")
        if workload == "tcp_connection":
            report.bound(f"lost at the highest rate, {workload}, {kind}", sum(lost), "", at_most=0)
