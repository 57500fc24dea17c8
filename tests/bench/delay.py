# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_in and delay_analysis_out: what they cost a connection, and a packet."""
import contextlib
import ctypes
import os
import pathlib
import re
import struct

import lab
import streams
from lab import Netline, neighbours, tool

PROBES = "delay_analysis_in", "delay_analysis_out"
MODES = {"a record per packet": [], "of 1 in 100": ["--sample=100"], "summary": ["--summary"], "summary of 1 in 16": ["--summary", "--sample=16"]}
BOUNDS = {"a record per packet": 15, "of 1 in 100": 5, "summary": 5, "summary of 1 in 16": 5}
FIVE_HOOKS = "netif_rx_entry", "netif_receive_skb", "tcp_probe", "sk_data_ready", "skb_copy_datagram_iovec"  # as many as that summary has, for a packet
ROUND_TRIP = "64 bytes there and back"
PACKETS = 2        # of a round trip: an ACK goes with the answer
BPF_PROG_LOAD, BPF_RAW_TRACEPOINT_OPEN, BPF_PROG_TYPE_RAW_TRACEPOINT = 5, 17, 17
RETURN_0 = struct.pack("<BBhiBBhi", 0xb7, 0, 0, 0, 0x95, 0, 0, 0)


def slowdown(report, rounds):
    subjects = {f"{probe}, {mode}": [*args, "--ring-size", "16M", probe] for probe in PROBES for mode, args in MODES.items()}
    empty = "five empty programs"
    pairs = streams.compare({empty: lambda: empty_programs(*FIVE_HOOKS), **subjects}, rounds)
    report.section(f"Slowdown of one connection on loopback, both ends on one CPU, while a delay analysis runs, {rounds} pairs (quartiles)")
    for subject in (empty, *subjects):
        for name in streams.STREAMS:
            streams.tell(report, f"{subject}: {name}", *pairs[subject, name])
    for subject in subjects:
        report.bound(f"{subject}: {ROUND_TRIP}", pairs[subject, ROUND_TRIP][0].percent()[0], "%", at_most=BOUNDS[subject.split(", ")[1]])


def bpf(command, attributes):
    fd = lab._libc.syscall(lab.NR_BPF[os.uname().machine], command, attributes, len(attributes))
    if fd < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command})")
    return fd


@contextlib.contextmanager
def empty_programs(*hooks):
    """The descriptor of a program that does nothing, at each of these tracepoints."""
    code, text = (ctypes.create_string_buffer(data) for data in (RETURN_0, b"GPL"))
    program = bpf(BPF_PROG_LOAD, struct.pack("<IIQQ112x", BPF_PROG_TYPE_RAW_TRACEPOINT, 2, ctypes.addressof(code), ctypes.addressof(text)))
    names = [ctypes.create_string_buffer(hook.encode()) for hook in hooks]
    links = [bpf(BPF_RAW_TRACEPOINT_OPEN, struct.pack("<QI4x", ctypes.addressof(name), program)) for name in names]
    try:
        yield program
    finally:
        for fd in (*links, program):
            os.close(fd)


def empty_ns():
    """What the kernel counts for a run of it."""
    with empty_programs("net_dev_queue") as program:
        neighbours.apart(lambda: tool("stream", *streams.STREAMS[ROUND_TRIP]))
        info = pathlib.Path(f"/proc/self/fdinfo/{program}").read_text(encoding="ascii")
    spent, runs = (int(re.search(rf"^{name}:\s+(\d+)", info, re.M)[1]) for name in ("run_time_ns", "run_cnt"))
    return spent / runs


def programs(report):
    report.section("BPF programs of a delay analysis for one packet of a round trip, by the kernel's statistics, net of an empty program")
    with lab.bpf_stats() as counted:
        if not counted:
            report.words("BPF programs", "the kernel does not count their time (BPF_ENABLE_STATS, since 5.8)")
            return
        empty = empty_ns()
        report.value("an empty program", empty, "ns", "a run; how it comes to be run is not in it")
        for probe in PROBES:
            for mode, args in MODES.items():
                with Netline("-o", "stdout,agent=yes", "--ring-size", "16M", *args, probe, sink="status") as netline:
                    neighbours.apart(lambda: tool("stream", *streams.STREAMS[ROUND_TRIP]))
                    netline.stop()
                events = [r["netline"]["events"] for r in netline.found if r["netline"]["scope"] == "probe"][-1]
                packets, runs = events["produced"], events["bpf_runs"]
                report.value(f"{probe}, {mode}", (events["bpf_ns"] - runs * empty) / packets, "ns",
                             f"{runs / packets:.1f} runs; {events['lost']:,} of {packets:,} lost")
