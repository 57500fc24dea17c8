# SPDX-License-Identifier: BSD-2-Clause
"""tcp_bytes: what a walk over the socket table costs, what a socket takes of memory, and that data flows as without it."""
import json
import os
import resource
import statistics
import subprocess
import time

import lab
import streams
from lab import Netline, neighbours

SIZES = 0, 1000, 10000, 100000
PROCESSES = 10     # a process may have 20,000 open files
INTERVAL, TICKS = 0.5, 4
ROUNDS = 4
median = statistics.median


class Idle:
    """So many open sockets, in a new network namespace that the bench is in from now on."""

    def __init__(self, sockets):
        lab.enter_network()
        self.process = lab.spawn([lab.BUILD / "tests" / "e2e" / "idle", sockets // 2, PROCESSES], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True, bufsize=1)
        neighbours.ours.update(json.loads(self.process.stdout.readline())["pids"], [self.process.pid])

    def touch(self):
        """A byte over each connection: each socket has something to tell."""
        self.process.stdin.write("1 1\n")
        self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()
        time.sleep(lab.SETTLE)     # until the kernel has closed them all


def window(netline, ticks, work):
    """CPU ns of netline over whole intervals, at least so many, in which work is done at first; and how many it were."""
    spent, start = netline.cpu_ns(), time.monotonic()
    work()
    ticks += int((time.monotonic() - start) / INTERVAL)
    time.sleep(max(0, start + ticks * INTERVAL - time.monotonic()))
    return netline.cpu_ns() - spent, ticks


def walk(netline):
    """CPU ns of one walk: whatever the phase, so many intervals have so many."""
    return window(netline, TICKS, lambda: None)[0] / TICKS


def ss():
    def spent():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime
    before = spent()
    subprocess.run(["ss", "-tin"], stdout=subprocess.DEVNULL, check=True)
    return 1e9 * (spent() - before)


def proc_net_tcp():
    start = time.thread_time_ns()
    fd = os.open("/proc/net/tcp", os.O_RDONLY)
    while os.read(fd, 65536):
        pass
    os.close(fd)
    return time.thread_time_ns() - start


def a_round(netline, idle, sockets):
    """CPU ns of a walk, of ss, of reading /proc/net/tcp, and what a walk takes more for each socket that has a record."""
    walked, others = walk(netline), (ss(), proc_net_tcp())
    told, ticks = window(netline, TICKS, idle.touch)
    return walked, *others, (told - walked * ticks) / max(sockets, 1)


def spread(values):
    return f"({min(values):.2f} to {max(values):.2f})"


def walks(report):
    report.section(f"A walk of tcp_bytes over open sockets, all idle: CPU, and how many times as much others take; {ROUNDS} rounds of "
                   f"{TICKS} walks, ss -tin, and reading /proc/net/tcp (lowest to highest)")
    for sockets in SIZES:
        with Idle(sockets) as idle, Netline("-i", INTERVAL, "tcp_bytes") as netline:
            rounds = [neighbours.apart(lambda: a_round(netline, idle, sockets)) for _ in range(ROUNDS)]
        own = [r[0] / 1e6 for r in rounds]
        than_ss, than_proc = [r[1] / r[0] for r in rounds], [r[2] / r[0] for r in rounds]
        told = f"; {median(r[3] for r in rounds) / 1e3:.1f} us more for a socket with a record" if sockets else ""
        report.value(f"{sockets:,} sockets", median(own), "ms", f"{spread(own)}; ss {median(than_ss):.1f}x {spread(than_ss)}; "
                     f"/proc/net/tcp {median(than_proc):.1f}x {spread(than_proc)}{told}")
        if not sockets:
            report.bound("a walk without sockets", median(own), "ms", at_most=10, aim=1)
    report.bound(f"ss -tin against a walk, {SIZES[-1]:,} sockets", median(than_ss), "x", at_least=2)


def kernel_memory(*args):
    with Netline(*args) as netline:
        return 1024 * lab.memory_kib(netline.process.pid)["maps"]


def memory(report):
    report.section("Memory in the kernel: BPF maps and programs, their memlock (entries as the kernel counts them, since Linux 6.4)")
    probes, taken = ("tcp_connection", "tcp_bytes"), {}
    for sockets in SIZES[0], SIZES[-1]:
        with Idle(sockets):
            taken[sockets] = [neighbours.apart(lambda: kernel_memory(probe)) for probe in probes]
    empty, full = taken.values()
    a_socket = [(there - before) / SIZES[-1] for before, there in zip(empty, full)]
    report.value("a socket in the table", a_socket[0], "bytes", f"{SIZES[-1]:,} that netline finds at its start")
    report.value("what tcp_bytes has told of it", a_socket[1] - a_socket[0], "bytes")
    for probe, size in zip(probes, empty):
        report.value(f"{probe}, no sockets", size / 2**20, "MiB")


def slowdown(report, rounds):
    pairs = streams.compare({"tcp_bytes": ["tcp_bytes"]}, rounds)
    report.section(f"Slowdown of one connection on loopback while tcp_bytes runs, {rounds} pairs (quartiles)")
    for name in streams.STREAMS:
        wall, cpu = pairs["tcp_bytes", name]
        streams.tell(report, name, wall, cpu)
        report.bound(f"CPU while tcp_bytes runs, {name}", cpu.percent()[0], "%", at_most=10, aim=3)
