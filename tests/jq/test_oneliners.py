# SPDX-License-Identifier: BSD-2-Clause
"""The commands of contrib/jq/README.md, as they stand there, on recorded lines; what they are to print is worked out here from the same lines.

recorded.jsonl is what record.py has made. $JQ names another jq than the one in $PATH.
"""
import collections
import ipaddress
import json
import math
import os
import re
import subprocess
import unicodedata

import pytest

from test_jq import CONTRIB, INPUTS, LIMIT, ROOT, jq, nearest_rank, percentile_rows, stage_times

COMMANDS = dict(re.findall(r"^### (.+?)\n(?:(?!^### ).)*?^```sh\n(.+?)^```$", (CONTRIB / "README.md").read_text(encoding="utf-8"), re.M | re.S))
RECORDED = ROOT / "tests/jq/recorded.jsonl"
OTHERS = ['{"event":"other"}', '{"event":{"dataset":"other"}}', "{}", "[1]", '"text"', "7", "null"]
OPTIONAL = ["process", "container", "labels"]


def run(command, file, tmp_path):
    """The words of each line that the command prints."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    if "JQ" in os.environ and not (tmp_path / "bin/jq").exists():
        (tmp_path / "bin/jq").symlink_to(os.environ["JQ"])
    done = subprocess.run(["sh", "-c", f"F={file}\n{command}"], cwd=ROOT, env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
                          capture_output=True, text=True, encoding="utf-8", timeout=LIMIT, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == "" or done.stdout.endswith("\n")
    return [line.split("\t" if "@tsv" in command else None) for line in done.stdout.splitlines()]


def read(*paths):
    return [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def written(path, lines):
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


# --- what is to be printed ---


def of(records, name):
    return [r for r in records if r["event"]["dataset"] == f"netline.{name}"]


def name_of(record):
    name = record.get("process", {}).get("name", "")
    return "".join("?" if unicodedata.category(c) in ("Cc", "Cf") else "_" if c.isspace() else c for c in name) or "-"


def ends(record):
    """(our side, the other)."""
    ours = "destination" if (record["netline"].get("role") or record["network"]["direction"]) in ("server", "ingress") else "source"
    return record[ours], record["source" if ours == "destination" else "destination"]


def text(value):
    return str(int(value)) if not isinstance(value, str) and value == int(value) else str(value)


def rounded(value, unit):
    """To so many of the unit, away from 0 in the middle."""
    return math.floor(value * unit + 0.5) / unit


def us(ns):
    tenths = math.floor(ns / 100 + 0.5)
    return f"{tenths // 10}.{tenths % 10}"


def sums(pairs):
    """[*key, *sums] in the order of keys, numbers before texts."""
    found = {}
    for key, numbers in pairs:
        found[key] = [a + b for a, b in zip(found.get(key, [0] * len(numbers)), numbers)]
    return [[*key, *found[key]] for key in sorted(found, key=lambda key: [(isinstance(part, str), part) for part in key])]


def largest(rows, by, n=None):
    return sorted(rows, key=lambda row: -by(row))[:n]


def sent_received(record):
    return [record["netline"]["bytes"][name] for name in ("sent", "received")]


def top_talkers(records):
    return largest(sums(((r.get("process", {}).get("pid", "-"), name_of(r)), sent_received(r)) for r in of(records, "tcp_bytes")), lambda row: row[2] + row[3], 10)


def per_container(records):
    return largest(sums(((r.get("container", {}).get("id", "host")[:12],), sent_received(r)) for r in of(records, "tcp_bytes")), lambda row: row[1] + row[2])


def largest_connections(records):
    rows = [[name_of(r), *[end[part] for end in ends(r) for part in ("ip", "port")], r["netline"]["bytes"]["sent_total"], r["netline"]["bytes"]["received_total"]]
            for r in of(records, "tcp_bytes") if r["netline"]["connection"] == "closed"]
    return largest(rows, lambda row: row[5] + row[6], 10)


def throughput(records):
    return [[r["@timestamp"][11:19], r["network"]["interface"]["name"], r["network"]["direction"], rounded(r["netline"]["nic"].get("bytes_per_sec", 0) * 8 / 1e6, 100),
             r["netline"]["nic"].get("packets_per_sec", 0)] for r in of(records, "nic_throughput") if r["netline"]["nic"]["scope"] == "total"]


def retransmissions(records):
    rows = sums(((ends(r)[1]["ip"],), [r["netline"]["bytes"][name] for name in ("retransmitted", "sent")]) for r in of(records, "tcp_bytes"))
    return [[*row, rounded(100 * row[1] / row[2], 100) if row[2] else "-"] for row in largest(rows, lambda row: row[1], 10)]


def connects(records):
    return [r for r in of(records, "tcp_connection") if r["event"]["action"] == "tcp-connect"]


def destination(record):
    return record["destination"]["ip"], record["destination"]["port"]


def failed(records):
    return largest(sums(((*destination(r), r["event"]["reason"]), [1]) for r in connects(records) if r["event"]["outcome"] == "failure"), lambda row: row[3])


def who_connects(records):
    return largest(sums(((name_of(r), *destination(r)), [1, r["event"]["outcome"] == "failure"]) for r in connects(records)), lambda row: row[3], 20)


def who_comes(records):
    return largest(sums(((r["destination"]["port"], r["source"]["ip"]), [1]) for r in of(records, "tcp_connection") if r["event"]["action"] == "tcp-accept"),
                   lambda row: row[2], 20)


def per_second(records):
    return sums(((r["@timestamp"][:19],), [r["event"]["action"] == f"tcp-{action}" for action in ("connect", "accept")]) for r in of(records, "tcp_connection"))


def slowest(records):
    told = largest((r for r in of(records, "tcp_connection") if r["event"]["outcome"] == "success" and "duration" in r["event"]), lambda r: r["event"]["duration"], 10)
    return [[rounded(r["event"]["duration"] / 1e6, 1000), name_of(r), *destination(r)] for r in told]


def accept_queue(records):
    ports = collections.defaultdict(list)
    for record in of(records, "tcp_connection"):
        if "accept" in record["netline"]:
            ports[ends(record)[0]["port"], record["netline"]["socket"]["netns"]].append(record["netline"]["accept"])
    several = len({netns for _, netns in ports}) > 1
    rows = []
    for (port, netns), told in sorted(ports.items()):
        waits = [each["wait_ns"] for each in told if each["state"] == "accepted" and "wait_ns" in each]
        digits = [int(str(ns)[:3].ljust(len(str(ns)), "0")) for ns in waits]
        states = collections.Counter(each["state"] for each in told)
        times = [us(ns) for ns in (nearest_rank(digits, 50), nearest_rank(digits, 99), max(waits))] if waits else ["-"] * 3
        rows.append([port, states["accepted"], *times, states["closed"], states["pending"], *(["netns", netns] if several else [])])
    return [["PORT", "ACCEPTED", "P50", "P99", "MAX", "CLOSED", "PENDING"], *rows]


def inerrs(records):
    return largest(sums(((r["event"]["reason"], r["netline"]["inerr"].get("kernel_reason", "-")), [r["netline"]["inerr"]["count"]]) for r in of(records, "tcp_inerrs")),
                   lambda row: row[2])


def bad_senders(records):
    return largest(sums(((r.get("source", {}).get("ip", "-"), r["event"]["reason"]), [r["netline"]["inerr"]["count"]]) for r in of(records, "tcp_inerrs")),
                   lambda row: row[2], 20)


def percentiles(records, *names):
    return [["DIRECTION", "INTERFACE", "STAGE", "COUNT", "P50", "P99"], *percentile_rows(stage_times([r for name in names for r in of(records, name)]))]


def p99_by_interval(records):
    rows = []
    for record in of(records, "delay_analysis_summary"):
        delay = record["netline"]["delay"]
        times = [value for value, n in zip(delay["histogram"]["values"], delay["histogram"]["counts"]) for _ in range(n)]
        rows.append([record["@timestamp"][11:19], record["network"]["direction"], record["network"]["interface"]["name"], delay["stage"], delay["count"],
                     us(nearest_rank(times, 99))])
    return rows


def average_and_longest(records):
    found = collections.defaultdict(list)
    for record in of(records, "delay_analysis_summary"):
        found[record["network"]["direction"], record["network"]["interface"]["name"], record["netline"]["delay"]["stage"]].append(record["netline"]["delay"])
    return [[*key, n := sum(d["count"] for d in told), us(sum(d["sum_ns"] for d in told) / n), us(max(d["max_ns"] for d in told))] for key, told in sorted(found.items())]


def lost(records):
    return sums(((r["netline"]["lost"]["stage"], r["event"]["reason"], r["netline"]["lost"]["dataset"], r["netline"]["lost"].get("output", "-")),
                 [r["netline"]["lost"]["count"]]) for r in of(records, "agent_lost"))


def equation(records):
    last = {(r["agent"]["ephemeral_id"], r["netline"]["probe"]["name"]): r["netline"]["events"]
            for r in of(records, "agent_status") if r["netline"]["scope"] == "probe"}
    return [[*key, *(told[name] for name in ("produced", "emitted", "filtered", "lost")),
             str(told["produced"] == told["emitted"] + told["filtered"] + told["lost"]).lower()] for key, told in sorted(last.items())]


def gaps(records):
    numbers = collections.defaultdict(list)
    for record in records:
        numbers[record["agent"]["ephemeral_id"], record["event"]["dataset"]].append(record["event"]["sequence"])
    return [[*key, len(found), missing] for key, found in sorted(numbers.items()) if (missing := max(found) - min(found) + 1 - len(found)) > 0]


EXPECTED = {
    "Top talkers by process": top_talkers,
    "Bytes per container": per_container,
    "The largest connections": largest_connections,
    "Throughput of each NIC, second by second": throughput,
    "Retransmissions per destination": retransmissions,
    "Failed connects by destination": failed,
    "Who connects to what": who_connects,
    "Who comes to which port": who_comes,
    "Connections per second": per_second,
    "The slowest handshakes": slowest,
    "Waits in the accept queue": accept_queue,
    "Input errors by reason": inerrs,
    "Who sends bad packets": bad_senders,
    "p50 and p99 of each stage": lambda records: percentiles(records, "delay_analysis_in", "delay_analysis_out"),
    "p50 and p99 of each stage, from summaries": lambda records: percentiles(records, "delay_analysis_summary"),
    "p99 as it changes": p99_by_interval,
    "Average and longest per stage, from summaries": average_and_longest,
    "What netline has lost": lost,
    "Whether the numbers add up": equation,
    "Gaps in the sequences": gaps,
}
each_command = pytest.mark.parametrize("title", EXPECTED)


def texts(rows):
    return [[text(word) for word in row] for row in rows]


# --- tests ---


def test_each_command_is_tested():
    readme = (CONTRIB / "README.md").read_text(encoding="utf-8")
    assert list(COMMANDS) == list(EXPECTED) == re.findall(r"^### (.+)$", readme, re.M)
    assert readme.count("```sh\n") == len(COMMANDS)


def test_recorded_lines():
    """Of every dataset, of nobody's network, and not many."""
    lines = read(RECORDED)
    assert RECORDED.stat().st_size < 300_000 and len(lines) > 200
    records = [json.loads(line) for line in lines]
    assert {r["event"]["dataset"] for r in records} == {f"netline.{path.stem}" for path in (ROOT / "schema").glob("*_*.json")}
    for record in records:
        assert record["host"]["name"] == "web-01"
        for side in ("source", "destination"):
            assert ipaddress.ip_address(record.get(side, {}).get("ip", "10.0.0.1")).is_private


@each_command
def test_recorded(title, tmp_path):
    """Among lines that are no records of netline."""
    lines = read(RECORDED)
    mixed = [part for number, line in enumerate(lines) for part in (line, OTHERS[number % len(OTHERS)])]
    rows = run(COMMANDS[title], written(tmp_path / "mixed.jsonl", mixed), tmp_path)
    assert rows and rows == texts(EXPECTED[title]([json.loads(line) for line in lines]))


@each_command
def test_without_optional_fields(title, tmp_path):
    """The inputs of the other tests, too: unknown roles, several namespaces, strange names."""
    records = [json.loads(line) for line in read(*[path for path in INPUTS if path != RECORDED])]
    for record in map(json.loads, read(RECORDED)):
        record["netline"].get("inerr", {}).pop("kernel_reason", None)
        record["netline"].get("accept", {}).pop("wait_ns", None)
        records.append({key: value for key, value in record.items() if key not in OPTIONAL})
    file = written(tmp_path / "bare.jsonl", map(json.dumps, records))
    assert run(COMMANDS[title], file, tmp_path) == texts(EXPECTED[title](records))


@each_command
def test_nothing(title, tmp_path):
    """A table still has its header."""
    assert run(COMMANDS[title], "/dev/null", tmp_path) == texts(EXPECTED[title]([]))


def test_cut_last_line():
    done = jq("-nr", "-f", CONTRIB / "accept_queue.jq", text=RECORDED.read_text(encoding="utf-8") + '{"@timestamp":"2026-', fails=True)
    assert (done.returncode, done.stdout) == (5, "") and "nfinished" in done.stderr
