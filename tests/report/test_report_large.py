# SPDX-License-Identifier: BSD-2-Clause
"""contrib/report: a large file is read while the page stays usable."""
import collections
import gzip
import json
import os
import re
import time

import pytest

import sums
from page import RECORDED, recorded

RECORDS = int(os.environ.get("REPORT_RECORDS", "200000"))
CHANGED = re.compile(r'(202\d-\d\d-\d\dT\d\d:\d\d:\d\d)|(?<="sequence":)(\d+)')
WATCH = """
    window.longest = 0;
    window.seen = new Set(); // how far it was
    const utc = document.getElementById("utc"), progress = document.getElementById("progress");
    let last = window.began = performance.now();
    window.watching = setInterval(() => {
        const now = performance.now();
        longest = Math.max(longest, now - last);
        last = now;
        if (document.body.dataset.state === "loading" && progress.value > 0 && progress.value < 1) {
            seen.add(progress.value);
            utc.click();
            window.answered = utc.getAttribute("aria-pressed");
        }
    }, 5);"""


def repeat(path, times):
    """The recorded lines so many times over, each time a minute later, and with sequence numbers that go on."""
    lines, length, seconds = [], {}, set()
    for line in gzip.decompress(RECORDED.read_bytes()).decode().splitlines(True):
        record = json.loads(line)
        run = record["agent"]["ephemeral_id"], record["event"]["dataset"]
        length[run] = max(length.get(run, 0), record["event"]["sequence"])
        lines.append((run, CHANGED.split(line)))
        seconds.update(CHANGED.split(line)[1::3])
    seconds.discard(None)
    with open(path, "w", encoding="utf-8") as file:
        for turn in range(times):
            later = {text: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(sums.seconds(text + ".0Z") + 60 * turn)) for text in seconds}
            for run, parts in lines:
                before = turn * length[run]
                file.write("".join(part if i % 3 == 0 else "" if part is None else later[part] if i % 3 == 1 else str(int(part) + before)
                                   for i, part in enumerate(parts)))
    return path


def test_large_file(page, tmp_path):
    """While it is read the page answers clicks, and afterwards shows all of it."""
    records = recorded()
    times = RECORDS // len(records) + 1
    path = repeat(tmp_path / "large.jsonl", times)
    page.js(WATCH)
    page.choose(path)
    page.wait(lambda: page.state == "report", "the large file")
    page.js("clearInterval(watching)")
    took, longest, answered, seen = page.js("return [performance.now() - began, longest, window.answered, seen.size]")
    size = path.stat().st_size
    print(f"{times * len(records)} records, {size / 1e6:.0f} MB: {took / 1000:.1f} s, the page was busy for {longest:.0f} ms at most")
    assert answered == "true" and seen > 3 and longest < took / 2, (answered, seen, longest, took)
    data = page.data
    assert data["lines"] == {"read": times * len(records), "unreadable": 0, "foreign": 0, "incomplete": 0} and page.notes() == []
    assert all(each["missing"] == each["twice"] == 0 for each in data["datasets"])
    good, bad = sums.connections(records)
    for name, expected in (("connections", good), ("failures", bad), ("errors", sums.input_errors(records))):
        assert {each["name"]: each["total"] for each in data[name]} == {key: n * times for key, n in expected.items()}
        assert {each["name"]: sum(each["series"]["values"]) for each in data[name]} == {key: n * times for key, n in expected.items()}
    assert {(nic["netns"], nic["nic"], way): nic[way]["bytes"] for nic in data["nics"] for way in ("ingress", "egress")} == \
        {key: octets * times for key, (octets, _) in sums.throughput(records).items()}
    for nic in data["nics"]:
        assert sum(nic["egress"]["series"]["values"]) == pytest.approx(nic["egress"]["bytes"])
    width = data["width"]
    assert width >= 200 and len({number for each in data["failures"] for number in each["series"]["bins"]}) <= 6000, "bins are merged"
    for each in data["failures"]:
        failed = [int(sums.moment(r) * 1000) for r in sums.of(records, "tcp_connection") if r["event"].get("reason") == each["name"]]
        assert dict(zip(each["series"]["bins"], each["series"]["values"])) == \
            collections.Counter((ms + 60_000 * turn) // width for ms in failed for turn in range(times))
    page.js("zoom(data.first + 60, data.first + 120)")
    assert page.js("return charts[0].chart.scales.x.max - charts[0].chart.scales.x.min") == pytest.approx(60)
