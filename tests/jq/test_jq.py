# SPDX-License-Identifier: BSD-2-Clause
"""contrib/jq: its tables against golden files, its functions, and that it streams.

The inputs are whole records. A golden file is what its filter is to print;
look at every change of one. $JQ names another jq than the one in $PATH.
"""
import json
import os
import pathlib
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
    for name in "tcp_connection", "tcp_inerrs", "nic_throughput", "tcp_bytes":
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
    assert table("tcp_connection", "") == read("tcp_connection.txt").splitlines(True)[0]
    assert table("nic_throughput", "") == ""
    assert table("tcp_bytes", "") == ""


def test_every_row_has_nine_words():
    rows = table("tcp_connection", read("tcp_connection.jsonl")).splitlines()
    assert [len(row.split()) for row in rows] == [9] * 7


def test_cut_last_line():
    """jq fails at a line that was cut; what was whole before it is printed."""
    for name, kept in (("tcp_connection", 7), ("tcp_inerrs", 7), ("nic_throughput", 25), ("tcp_bytes", 24)):
        done = table(name, read(f"{name}.jsonl") + '{"@timestamp":"2026-', fails=True)
        assert done.stdout.splitlines() == read(f"{name}.txt").splitlines()[:kept]
        assert "nfinished" in done.stderr


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
