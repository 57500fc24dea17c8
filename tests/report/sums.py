# SPDX-License-Identifier: BSD-2-Clause
"""What the page has to show of some records, summed up here once more."""
import calendar
import collections
import time

STAGES = {"delay_analysis_in": ["mac", "ip", "protocol", "socket_wait", "tcp"], "delay_analysis_out": ["tcp", "ip", "qdisc"]}


def dataset(record):
    return record["event"]["dataset"].removeprefix("netline.")


def of(records, name):
    return [record for record in records if dataset(record) == name]


def seconds(text):
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + float(f"0{text[19:-1]}")


def moment(record):
    return seconds(record["@timestamp"])


def bucket(ns):
    """The kernel's: the power of two, and the two bits below the highest."""
    return 0 if ns < 256 else 105 if ns >= 1 << 34 else 1 + (ns.bit_length() - 9) * 4 + (ns >> (ns.bit_length() - 3) & 3)


def middle(number):
    floor = [0, *((4 + quarter) << (octave + 6) for octave in range(26) for quarter in range(4)), 1 << 34]
    return floor[number] if number == 105 else (floor[number] + floor[number + 1]) / 2


def percentile(counts, percent):
    """The nearest rank in {bucket: packets}, as the middle of its bucket."""
    rank, below = sum(counts.values()) * percent, 0
    for number in sorted(counts):
        below += counts[number]
        if below * 100 >= rank:
            return middle(number)
    raise AssertionError("no packets")


def throughput(records):
    """{(network namespace, NIC, direction): (bytes, packets)}"""
    found = collections.defaultdict(lambda: (0, 0))
    for record in of(records, "nic_throughput"):
        if record["netline"]["nic"]["scope"] == "total":
            network = record["network"]
            key = record["netline"]["nic"]["netns"], network["interface"]["name"], network["direction"]
            found[key] = found[key][0] + network["bytes"], found[key][1] + network["packets"]
    return dict(found)


def connections(records):
    """{connected or accepted: how many}, {reason: failures}"""
    good, bad = collections.Counter(), collections.Counter()
    for record in of(records, "tcp_connection"):
        if record["event"]["outcome"] == "success":
            good["connected" if record["event"]["action"] == "tcp-connect" else "accepted"] += 1
        else:
            bad[record["event"]["reason"]] += 1
    return dict(good), dict(bad)


def waits(records):
    """{name: Counter of buckets}"""
    found = collections.defaultdict(collections.Counter)
    for record in of(records, "tcp_connection"):
        if record["event"]["action"] == "tcp-connect":
            if record["event"]["outcome"] == "success" and "duration" in record["event"]:
                found["handshake"][bucket(record["event"]["duration"])] += 1
        elif "wait_ns" in record["netline"]["accept"]:
            found[f"queue: {record['netline']['accept']['state']}"][bucket(record["netline"]["accept"]["wait_ns"])] += 1
    return dict(found)


def input_errors(records):
    found = collections.Counter()
    for record in of(records, "tcp_inerrs"):
        found[record["event"]["reason"]] += record["netline"]["inerr"]["count"]
    return dict(found)


def processes(records):
    """{name: (received, sent, sent again)}"""
    found = collections.defaultdict(lambda: (0, 0, 0))
    for record in of(records, "tcp_bytes"):
        moved, name = record["netline"]["bytes"], record.get("process", {}).get("name")
        found[name] = tuple(map(sum, zip(found[name], (moved["received"], moved["sent"], moved["retransmitted"]))))
    return dict(found)


def delays(records):
    """{(source, direction, NIC, stage): Counter of buckets}"""
    found = collections.defaultdict(collections.Counter)
    for record in of(records, "delay_analysis_summary"):
        told, key = record["netline"]["delay"], ("summaries", record["network"]["direction"], record["network"]["interface"]["name"])
        found[*key, told["stage"]].update({bucket(value): n for value, n in zip(told["histogram"]["values"], told["histogram"]["counts"])})
    for name, stages in STAGES.items():
        for record in of(records, name):
            told, network = record["netline"]["delay"], record["network"]
            times = {stage: told.get(f"{stage}_ns") for stage in stages} | {"total": record["event"].get("duration")}
            for stage, ns in times.items():
                if ns is not None and (stage in ("mac", "ip") or told.get("end", "read") == "read"):
                    found["packets", network["direction"], network.get("interface", {}).get("name", "unknown"), stage][bucket(ns)] += 1
    return dict(found)


def lost(records):
    """{(stage, reason, dataset): how many}"""
    found = collections.Counter()
    for record in of(records, "agent_lost"):
        told = record["netline"]["lost"]
        found[told["stage"], record["event"]["reason"], told["dataset"]] += told["count"]
    return dict(found)


def status(records):
    """{(run, scope, name): the last counters}"""
    found = {}
    for record in of(records, "agent_status"):
        told = record["netline"]
        if told["scope"] != "agent":
            kind = "events" if told["scope"] == "probe" else "output"
            found[record["agent"]["ephemeral_id"], told["scope"], told[told["scope"]]["name"]] = told[kind]
    return found


def duration(ns):
    """Three digits of it, with the unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1)):
        if ns >= size * 0.9995 or unit == "ns":
            value = ns / size
            digits = 0 if unit == "ns" and value == int(value) else 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f} {unit}"
    raise AssertionError(ns)
