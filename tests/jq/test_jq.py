# SPDX-License-Identifier: BSD-2-Clause
"""contrib/jq: its tables against golden files, its functions, and that it streams.

The inputs are whole records. A golden file is what its filter is to print;
look at every change of one. $JQ names another jq than the one in $PATH.
"""
import collections
import json
import os
import pathlib
import random
import select
import subprocess
import time

import jsonschema
import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CONTRIB = ROOT / "contrib/jq"
INPUTS = sorted(HERE.glob("*.jsonl"))
LIMIT = 20  # seconds, for any one jq


def jq(*args, text="", fails=False, cwd=ROOT, **env):
    done = subprocess.run([os.environ.get("JQ", "jq"), *map(str, args)], input=text, cwd=cwd,
                          env={**os.environ, **env}, capture_output=True, text=True,
                          encoding="utf-8", timeout=LIMIT)
    assert bool(done.returncode) == fails, done.stderr
    return done if fails else done.stdout


def table(name, text, **kwargs):
    return jq("-nr", "-f", CONTRIB / f"{name}.jq", text=text, **kwargs)


def call(program, text, **env):
    out = jq("-c", "-L", "contrib/jq", f'include "netline"; {program}', text=text, **env)
    return [json.loads(line) for line in out.splitlines()]


def read(name):
    return (HERE / name).read_text(encoding="utf-8")


def stamped(stamp):
    return json.dumps({"@timestamp": stamp})


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_input_is_valid(path):
    """Record types that have no probe yet, and so no schema, stand in for `records of other datasets`."""
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        schema = ROOT / "schema" / (record["event"]["dataset"].split(".")[1] + ".json")
        if schema.exists():
            jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(record)


@pytest.mark.parametrize("name, golden", [
    ("tcp_connection", "tcp_connection"),
    ("tcp_inerrs", "tcp_inerrs"),
    ("nic_throughput", "nic_throughput"),
    ("nic_throughput", "nic_netns"),
    ("tcp_bytes", "tcp_bytes"),
    ("delay_analysis_in", "delay_analysis_in"),
    ("delay_analysis_out", "delay_analysis_out"),
    ("delay_percentiles", "delay_percentiles"),
    ("delay_percentiles", "delay_summaries"),
])
def test_table(name, golden, tmp_path):
    # From another directory: the filter finds its module beside itself.
    assert table(name, read(f"{golden}.jsonl"), cwd=tmp_path) == read(f"{golden}.txt")


def test_sides():
    out = jq("-c", "-L", "contrib/jq", 'include "netline"; [local, remote]',
             text=read("sides.jsonl"))
    assert out == read("sides.txt")


def test_import():
    assert jq("-r", "-L", "contrib/jq", 'import "netline" as n; n::clock',
              text=stamped("2026-11-22T22:11:01.000214377Z")) == "22:11:01\n"


def test_dataset():
    text = read("tcp_connection.jsonl") + '{"event":"other"}\n{}\n[1]\n"text"\n7\nnull\n'
    got = call('dataset("tcp_connection") | .event.sequence', text)
    assert got == list(range(1, 9))
    assert len(call('dataset("agent_lost")', text)) == 1
    assert call('dataset("tcp")', text) == []


def test_foreign_lines_are_passed_over():
    for name in ("tcp_connection", "tcp_inerrs", "nic_throughput", "tcp_bytes", "delay_analysis_in", "delay_analysis_out",
                 "delay_percentiles"):
        text = read(f"{name}.jsonl").replace("\n", '\n{"event":"other"}\n7\n')
        assert table(name, text) == read(f"{name}.txt")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Australia/Sydney"])
@pytest.mark.parametrize("stamp, seconds", [
    ("1970-01-01T00:00:00.000000000Z", 0),
    ("2000-02-29T12:00:00.500000000Z", 951825600.5),
    ("2024-12-31T23:59:59.250000000Z", 1735689599.25),
    ("2026-01-08T09:08:09.000000000Z", 1767863289),
    ("2026-07-22T22:11:01.000214000Z", 1784758261.000214),
    ("2100-03-01T00:00:00.000000000Z", 4107542400),
])
def test_ts(stamp, seconds, zone):
    got, = call("ts", stamped(stamp), TZ=zone)
    assert got == pytest.approx(seconds, rel=0, abs=1e-6)
    assert call("clock", stamped(stamp), TZ=zone) == [stamp[11:19]]


@pytest.mark.parametrize("name, word", [
    ("nginx", "nginx"),
    ("kworker/0:1-ev", "kworker/0:1-ev"),
    ("a b\tc\n", "a_b?c?"),
    ("\x1b[31m\x7f\x85", "?[31m??"),
    ("\u202e\u2028\u00a0\u3000", "?___"),
    ("\u00e9\ufffd", "\u00e9\ufffd"),
    ("", "-"),
    (None, "-"),
])
def test_word(name, word):
    assert call("word", json.dumps(name)) == [word]


def test_column():
    assert call("column(4)", '"ab"\n"abc"\n"abcd"\n"abcde"\n17') == [
        "ab  ", "abc ", "abcd ", "abcde ", "17  "]


def test_no_input():
    for name in "tcp_connection", "delay_analysis_in", "delay_analysis_out", "delay_percentiles":
        assert table(name, "") == read(f"{name}.txt").splitlines(True)[0]
    assert table("nic_throughput", "") == ""
    assert table("tcp_bytes", "") == ""


def test_every_row_has_nine_words():
    rows = table("tcp_connection", read("tcp_connection.jsonl")).splitlines()
    assert [len(row.split()) for row in rows] == [9] * 7


def test_cut_last_line():
    """jq fails at a line that was cut; what was whole before it is printed."""
    for name, kept in (("tcp_connection", 7), ("tcp_inerrs", 7), ("nic_throughput", 25), ("tcp_bytes", 24),
                       ("delay_analysis_in", 9), ("delay_analysis_out", 9), ("delay_percentiles", 0)):
        done = table(name, read(f"{name}.jsonl") + '{"@timestamp":"2026-', fails=True)
        assert done.stdout.splitlines() == read(f"{name}.txt").splitlines()[:kept]
        assert done.returncode == 5 and "nfinished" in done.stderr


STAGES = "mac", "ip", "tcp", "protocol", "socket_wait", "qdisc", "total"


def stage_times(records):
    """Times by (netns, direction, interface, stage): each as often as packets took it."""
    times = collections.defaultdict(list)
    for record in records:
        name = record["event"]["dataset"].split(".")[1]
        if not name.startswith("delay_analysis_"):
            continue
        network, delay = record["network"], record["netline"]["delay"]
        nic = record["netline"]["socket"]["netns"], network["direction"], network.get("interface", {}).get("name", "-")
        if name == "delay_analysis_summary":
            for value, count in zip(delay["histogram"]["values"], delay["histogram"]["counts"]):
                times[(*nic, delay["stage"])] += [value] * count
            continue
        found = {stage: delay.get(f"{stage}_ns") for stage in STAGES[:-1]} | {"total": record["event"].get("duration")}
        for stage, ns in found.items():
            if ns is not None and (stage in ("mac", "ip") or delay.get("end", "read") == "read"):
                times[(*nic, stage)].append(ns)
    return times


def nearest_rank(times, percent):
    return sorted(times)[-(-percent * len(times) // 100) - 1]


def percentile_rows(times):
    """The words of the rows that delay_percentiles.jq is to print for these times."""
    def us(ns):
        tenths = (ns + 50) // 100
        return f"{tenths // 10}.{tenths % 10}"
    several = len({netns for netns, *_ in times}) > 1
    return [[*name, stage, str(len(ns)), us(nearest_rank(ns, 50)), us(nearest_rank(ns, 99)), *(["netns", netns] if several else [])]
            for (netns, *name, stage), ns in sorted(times.items(), key=lambda item: (item[0][1:3], item[0][0], STAGES.index(item[0][3])))]


def percentiles(records):
    out = table("delay_percentiles", "".join(json.dumps(record) + "\n" for record in records))
    return [line.split() for line in out.splitlines()[1:]]


@pytest.mark.parametrize("names", [["delay_percentiles"], ["delay_summaries"], ["delay_percentiles", "delay_summaries"]], ids="+".join)
def test_percentiles(names):
    records = [json.loads(line) for name in names for line in read(f"{name}.jsonl").splitlines()]
    rows = percentiles(records)
    assert rows and rows == percentile_rows(stage_times(records))


def middle_of_bucket(ns):
    """Of the summaries' histograms: 4 buckets for each power of two, from 256 ns on."""
    width = 1 << ns.bit_length() - 3
    return ns // width * width + width // 2


@pytest.mark.parametrize("n", [1, 2, 99, 100, 101, 200, 1000])
def test_percentiles_of_many(n):
    """n packets, then the summaries of the same packets: each percentile's bucket is that of the exact one."""
    dice = random.Random(n)
    packet, summary = (json.loads(read(f"{name}.jsonl").splitlines()[0]) for name in ("delay_percentiles", "delay_summaries"))
    packets = []
    for _ in range(n):
        mac, ip, protocol, wait = (256 + int(dice.lognormvariate(9, 1.5)) for _ in range(4))
        packets.append(packet | {
            "event": packet["event"] | {"duration": mac + ip + protocol + wait},
            "netline": packet["netline"] | {"delay": {
                "end": "read", "mac_ns": mac, "ip_ns": ip, "tcp_ns": protocol + wait, "protocol_ns": protocol,
                "socket_wait_ns": wait, "hooks": "fentry"}}})
    times = stage_times(packets)
    assert percentiles(packets) == percentile_rows(times)

    summaries = []
    for (netns, direction, interface, stage), exact in times.items():
        for part in filter(None, [exact[::2], exact[1::2]]):  # two intervals
            buckets = sorted(collections.Counter(map(middle_of_bucket, part)).items())
            summaries.append(summary | {
                "network": summary["network"] | {"direction": direction, "interface": {"name": interface}},
                "netline": summary["netline"] | {"socket": {"netns": netns}, "delay": {"stage": stage, "histogram": {
                    "values": [value for value, _ in buckets], "counts": [count for _, count in buckets]}}}})
    rows = percentile_rows({name: [middle_of_bucket(nearest_rank(exact, percent)) for percent in (50, 99)]
                            for name, exact in times.items()})
    assert percentiles(summaries) == [[*row[:3], str(n), *row[4:]] for row in rows]


def read_until(stream, text):
    """What stream gave until it held text; fails at its end or the time limit."""
    got, end = "", time.monotonic() + LIMIT
    while text not in got:
        ready, _, _ = select.select([stream], [], [], max(0, end - time.monotonic()))
        assert ready, f"no {text!r} within {LIMIT} s in {got!r}"
        chunk = os.read(stream.fileno(), 65536)
        assert chunk, f"no {text!r} in {got!r}"
        got += chunk.decode()
    return got


@pytest.mark.parametrize("name, records, whole", [
    # The header is there before any record, a row as soon as its record is.
    ("tcp_connection", 0, 1),
    ("tcp_connection", 2, 2),
    ("tcp_inerrs", 1, 2),
    # The first record is another's.
    ("delay_analysis_in", 2, 2),
    ("delay_analysis_out", 1, 2),
    # The first record of the second tick, number 11, gives the first.
    ("nic_throughput", 11, 25),
    # Number 6 is of the second interval, but number 11 is the first that was open at its end.
    ("tcp_bytes", 11, 11),
    # None was open at the end of the third, fourth and fifth: the fifth's first gives the third.
    ("tcp_bytes", 15, 24),
])
def test_streams(name, records, whole):
    given = read(f"{name}.jsonl").splitlines(True)
    rows = read(f"{name}.txt").splitlines(True)
    with subprocess.Popen([os.environ.get("JQ", "jq"), "-nr", "--unbuffered", "-f",
                           CONTRIB / f"{name}.jq"], bufsize=0,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            process.stdin.write("".join(given[:records]).encode())
            # The input stays open: what comes now, comes while it streams.
            first = read_until(process.stdout, "".join(rows[:whole]))
            assert first == "".join(rows[:whole])
            rest, _ = process.communicate("".join(given[records:]).encode(), timeout=LIMIT)
            assert first + rest.decode() == "".join(rows)
            assert process.returncode == 0
        finally:
            process.kill()
