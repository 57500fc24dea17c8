# SPDX-License-Identifier: BSD-2-Clause
"""Exchanges over one connection on loopback, with a probe and without: pairs in turn."""
import statistics

from lab import Netline, Pairs, neighbours, tool

STREAMS = {        # how many, bytes up, bytes down
    "10 MiB one way": (100, 10 << 20, 1),
    "64 bytes there and back": (20000, 64, 64),
}
median = statistics.median


def exchange(name, run=lambda *args: neighbours.apart(lambda: tool("stream", *args)[0])):
    """(median over parts of the time of an exchange, CPU time of client and server for one), ns."""
    result = run(*STREAMS[name])
    return median(result["part_ns"]) / (result["count"] / len(result["part_ns"])), result["cpu_ns"] / result["count"]


def exchanges():
    return {name: exchange(name) for name in STREAMS}


def compare(subjects, rounds):
    """{subject, stream: (Pairs of the time, Pairs of the CPU time)}; subjects by name: netline's arguments, or what makes a context to run in."""
    pairs = {(subject, name): (Pairs(), Pairs()) for subject in subjects for name in STREAMS}
    before = exchanges()
    for _ in range(rounds):
        for subject, it in subjects.items():
            with it() if callable(it) else Netline(*it):
                on = exchanges()
            after = exchanges()
            for name in STREAMS:
                for i, kind in enumerate(pairs[subject, name]):
                    kind.add(before[name][i], on[name][i], after[name][i])
            before = after
    return pairs


def tell(report, label, wall, cpu):
    middle, low, high = cpu.percent()
    report.value(label, wall.percent()[0], "%", "({:.1f} to {:.1f}); ".format(*wall.percent()[1:])
                 + f"CPU {middle:+.1f} % ({low:.1f} to {high:.1f}), {cpu.added():+,.0f} ns; "
                 f"without netline {1e9 / median(wall.without):,.0f}/s")
