# SPDX-License-Identifier: BSD-2-Clause
"""contrib/report: what the page makes of records, against the same sums made here."""
import collections

import pytest

import sums
from page import RECORDED, recorded


def counter(buckets):
    return {i: n for i, n in enumerate(buckets) if n}


def assert_sums(data, records):
    """The page's data is that of the records."""
    assert {each["name"].removeprefix("netline."): each["records"] for each in data["datasets"]} == collections.Counter(map(sums.dataset, records))
    assert data["lines"] == {"read": len(records), "unreadable": 0, "foreign": 0, "incomplete": 0} and not data["inexact"]
    times = [sums.moment(record) for record in records] + [sums.seconds(record["event"]["start"]) for record in records if "start" in record["event"]]
    assert data["first"] == pytest.approx(min(times), abs=1e-5) and data["last"] == pytest.approx(max(times), abs=1e-5)
    nics = {(nic["netns"], nic["nic"], way): (nic[way]["bytes"], nic[way]["packets"]) for nic in data["nics"] for way in ("ingress", "egress")}
    assert nics == sums.throughput(records)
    good, bad = sums.connections(records)
    for name, expected in (("connections", good), ("failures", bad), ("errors", sums.input_errors(records))):
        assert {each["name"]: each["total"] for each in data[name]} == expected
        assert {each["name"]: sum(each["series"]["values"]) for each in data[name]} == expected
    assert {each["name"]: counter(each["histogram"]["buckets"]) for each in data["waits"]} == sums.waits(records)
    assert {each.get("name"): (each["received"], each["sent"], each["again"]) for each in data["processes"]} == sums.processes(records)
    delays = {(each["source"], each["direction"], each["nic"], each["stage"]): counter(each["histogram"]["buckets"]) for each in data["delays"]}
    assert delays == sums.delays(records)
    assert {(each["stage"], each["reason"], each["dataset"]): each["count"] for each in data["lost"]} == sums.lost(records)
    status = {(each["run"], each["scope"], each["name"]): each for each in data["status"]}
    expected = sums.status(records)
    assert status.keys() == expected.keys()
    for key, counters in expected.items():
        names = {"given": "emitted", "delivered": "delivered", "queued": "queued", "undelivered": "lost"} if key[1] == "output" else \
            {name: name for name in ("produced", "emitted", "filtered", "lost")}
        assert {name: status[key][name] for name in names} == {name: counters[theirs] for name, theirs in names.items()}


def test_sums_of_the_recording(page):
    records = recorded()
    for name in ("nic_throughput", "tcp_connection", "tcp_bytes", "tcp_inerrs", "delay_analysis_in", "delay_analysis_out", "delay_analysis_summary",
                 "agent_probe", "agent_status", "agent_lost"):
        assert sums.of(records, name), f"the recording has no {name}"
    data = page.open(RECORDED).data
    assert_sums(data, records)
    assert all(each["missing"] == each["twice"] == 0 for each in data["datasets"])


def test_bins(page):
    """Each event is in the bin of its time, and an interval's bytes are spread over its bins, which know how much of them it covers."""
    records, data = recorded(), page.open(RECORDED).data
    width = data["width"] / 1000
    assert width == 0.1
    for each in data["failures"]:
        times = [sums.moment(r) for r in sums.of(records, "tcp_connection") if r["event"].get("reason") == each["name"]]
        assert dict(zip(each["series"]["bins"], each["series"]["values"])) == collections.Counter(int(time / width + 1e-9) for time in times)
    for nic in data["nics"]:
        for way in ("ingress", "egress"):
            spread, covered = collections.Counter(), collections.Counter()
            for record in sums.of(records, "nic_throughput"):
                if record["network"]["interface"]["name"] == nic["nic"] and record["network"]["direction"] == way and record["netline"]["nic"]["scope"] == "total":
                    start, end = sums.seconds(record["event"]["start"]), sums.moment(record)
                    for number in range(int(start / width), int(end / width) + 1):
                        part = min(end, (number + 1) * width) - max(start, number * width)
                        spread[number] += record["network"]["bytes"] * part / (end - start)
                        covered[number] += part
            series = nic[way]["series"]
            assert dict(zip(series["bins"], series["values"])) == pytest.approx(spread, rel=1e-3, abs=1)
            assert dict(zip(series["bins"], series["covered"])) == pytest.approx(covered, rel=1e-3, abs=1e-5)
            assert sum(series["values"]) == pytest.approx(nic[way]["bytes"])


def test_texts(page):
    records = recorded()
    page.open(RECORDED)
    facts = page.facts()
    assert facts["Host"].startswith("web-01")
    assert facts["Records"].startswith(f"{len(records):,}") and facts["Not read"].startswith("0")
    assert facts["Lost"].startswith(f"{sum(sums.lost(records).values()):,}")
    assert "0.1.0" in facts["netline"] and sums.of(records, "agent_probe")[0]["host"]["os"]["kernel"] in facts["Host"]
    good, bad = sums.connections(records)
    for panel, expected in (("connections", good), ("failures", bad), ("errors", sums.input_errors(records))):
        shown = [[name, f"{n:,}", f"{n:,}"] for name, n in expected.items()]
        assert sorted(page.rows(f"#{panel} .legend")) == sorted(shown)
    shown = {name.split("pid")[0].strip(): (received, sent) for name, _, received, sent, _ in page.rows("#processes")}
    assert shown.keys() == sums.processes(records).keys()
    biggest, moved = max(sums.processes(records).items(), key=lambda item: sum(item[1]))
    assert page.rows("#processes")[0][0].startswith(biggest) and shown[biggest][1] == f"{moved[1] / 1e6:.0f} MB"
    for source in ("summaries", "packets"):
        page.js("document.getElementById('source').value = arguments[0]; document.getElementById('source').onchange()", source)
        for panel, direction in (("delays-in", "ingress"), ("delays-out", "egress")):
            assert_histograms(page.rows(f"#{panel}"), {stage: merged(sums.delays(records), source, direction, stage) for stage in stages_of(direction)})
    page.js("document.getElementById('nic').value = 'lan0'; document.getElementById('nic').onchange()")
    found = sums.delays(records)
    assert_histograms(page.rows("#delays-out"), {stage: found["packets", "egress", "lan0", stage] for stage in stages_of("egress")})
    assert_histograms(page.rows("#waits"), sums.waits(records))
    accounts = page.rows("#accounts")
    assert len(accounts) == len(sums.status(records)) and all(row[-1] == "✓" for row in accounts)
    assert [row[:2] for row in page.rows("#records")] == [[name, f"{n:,}"] for name, n in sorted(
        collections.Counter(map(sums.dataset, records)).items(), key=lambda item: -item[1])]


def stages_of(direction):
    return ["mac", "ip", "protocol", "socket_wait", "tcp", "total"] if direction == "ingress" else ["tcp", "ip", "qdisc", "total"]


def merged(found, source, direction, stage):
    total = collections.Counter()
    for key, buckets in found.items():
        if (key[0], key[1], key[3]) == (source, direction, stage):
            total.update(buckets)
    return total


def assert_histograms(rows, expected):
    shown = {row[0]: row[2:5] for row in rows}
    assert shown == {name: [f"{sum(counts.values()):,}", sums.duration(sums.percentile(counts, 50)), sums.duration(sums.percentile(counts, 99))]
                     for name, counts in expected.items()}
