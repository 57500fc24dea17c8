# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_in --summary: the same packets, counted in the kernel by stage."""
import collections
import math
import time

import pytest

from delays_in import delays_agent, echo, joined, listen, port_of, receive, received, send_and_wait, tcp_socket, way_of
from harness import PREEMPTS_TRACEPOINTS, SCALE, events, of_dataset
from inerrs import TWO_WAYS_THERE, lab
from transfers import wait_for_no_sockets

pytestmark = pytest.mark.any_way
TURNS = 500 // SCALE
READ_STAGES = ("tcp", "protocol", "socket_wait", "total")
FAST = ("--summary", "--interval", "0.1")
LATE_NS = 50_000_000


def summaries(records, ns, stage=None):
    return [r for r in of_dataset(records, "delay_analysis_summary") if r["netline"]["socket"]["netns"] == str(ns.inum)
            and stage in (None, r["netline"]["delay"]["stage"])]


def counts(records, ns):
    found = collections.Counter()
    for record in summaries(records, ns):
        found[record["netline"]["delay"]["stage"]] += record["netline"]["delay"]["count"]
    return found


def assert_summary(record, rate=1):
    """One record by itself."""
    told = record["netline"]["delay"]
    histogram = told["histogram"]
    assert record["network"]["direction"] == "ingress" and record["netline"]["sample_rate"] == rate
    assert told["count"] == sum(histogram["counts"]) > 0 and all(histogram["counts"])
    assert len(histogram["counts"]) == len(histogram["values"]) and histogram["values"] == sorted(set(histogram["values"]))
    assert told["min_ns"] <= told["sum_ns"] / told["count"] <= told["max_ns"], record
    lowest, highest = histogram["values"][0], histogram["values"][-1]  # middles of buckets that hold the extremes
    assert lowest * 0.85 <= told["min_ns"] <= lowest * 1.2 or told["min_ns"] < 256, record
    assert highest * 0.85 <= told["max_ns"] <= highest * 1.2 or told["max_ns"] < 256, record


def finish(agent, there, rate=1):
    """Ends netline when the connections are gone: (counts by stage, all records). What came to TCP went through IP, and is counted there."""
    for ns in {there.here, there.there}:
        wait_for_no_sockets(ns)
    given = received(there.there)
    records = agent.stop()
    for record in summaries(records, there.there):
        assert_summary(record, rate)
    told, counted = counts(records, there.there), events(records, "delay_analysis_in")
    assert not of_dataset(records, "delay_analysis_in") and len(summaries(records, there.there)) == len(of_dataset(records, "delay_analysis_summary"))
    assert counted["produced"] == counted["emitted"] + counted["filtered"] + counted["lost"] and counted["emitted"] == told["ip"], (counted, told)
    if PREEMPTS_TRACEPOINTS:
        assert told["ip"] + counted["filtered"] <= given <= counted["produced"]
    else:
        assert counted["produced"] == given and counted["lost"] == 0, (counted, given)
    return told, records


@pytest.mark.parametrize("ip, over_veth", TWO_WAYS_THERE)
def test_counts(ip, over_veth):
    """All packets go through MAC and IP; those that are read have the other stages."""
    with lab(ip, over_veth) as there, delays_agent(*FAST, ns=there.there) as agent:
        with joined(there) as (client, server):
            for _ in range(3):
                echo(client, server, TURNS)
                before = len(summaries(agent.records(), there.there, "ip"))
                agent.wait_for(lambda records: len(summaries(records, there.there, "ip")) > before)
        given = received(there.there)
        told, records = finish(agent, there)
        reads = 3 * TURNS * (1 if over_veth else 2)
        assert told["ip"] >= given and told["mac"] == told["ip"]
        assert [told[stage] for stage in READ_STAGES] == [reads] * 4 or PREEMPTS_TRACEPOINTS
        found = summaries(records, there.there)
        assert {r["network"]["interface"]["name"] for r in found} == {there.interface}
        assert {r["netline"]["delay"]["hooks"] for r in found} == {way_of(records)}
        assert len({r["@timestamp"] for r in found}) >= 3


def test_sums_are_of_one_packet():
    """Where an interval has one packet with data, the stages' times add up; the other, without data, is but counted."""
    with lab("10.77.0.2", True) as there, delays_agent("--summary", "--interval", "0.3", ns=there.there) as agent:
        with joined(there) as (client, server):
            for _ in range(5):
                send_and_wait(there.here, client, b"x")
                time.sleep(LATE_NS / 1e9)
                receive(server, 1)
        _, records = finish(agent, there)
        found = summaries(records, there.there)
    by_tick = collections.defaultdict(dict)
    for record in found:
        by_tick[record["@timestamp"]][record["netline"]["delay"]["stage"]] = record["netline"]["delay"]
    assert sum(tick["tcp"]["count"] for tick in by_tick.values() if "tcp" in tick) == 5
    for tick in by_tick.values():
        if "tcp" in tick:
            assert tick["protocol"]["sum_ns"] + tick["socket_wait"]["sum_ns"] == tick["tcp"]["sum_ns"] <= tick["total"]["sum_ns"]
            assert tick["socket_wait"]["min_ns"] >= LATE_NS


def test_sample():
    rate = 4
    with lab() as there, delays_agent(*FAST, f"--sample={rate}", ns=there.there) as agent:
        with joined(there) as (client, server):
            echo(client, server, 8000 // SCALE)
        given = received(there.there)
        told, _ = finish(agent, there, rate)
    assert abs(told["ip"] - given / rate) <= 5 * math.sqrt(given * (1 / rate) * (1 - 1 / rate)) + 10
    assert 0 < told["total"] <= told["ip"]


def test_filters():
    """What a filter refuses is not counted, and NICs apart from each other."""
    with lab("10.77.0.2", True) as there, listen(there.there, "127.0.0.1") as listener, \
            delays_agent(*FAST, "--dport", port_of(listener), ns=there.there) as local, delays_agent(*FAST, "-n", "near0", ns=there.there) as link:
        with joined(there) as (client, server), tcp_socket(there.there, "127.0.0.1") as near:
            near.connect(listener.getsockname())
            with listener.accept()[0] as other:
                echo(client, server, TURNS)
                echo(near, other, TURNS)
        listener.close()
        told, records = finish(local, there)
        assert told["total"] == TURNS and events(records, "delay_analysis_in")["filtered"] > 2 * TURNS
        assert {r["network"]["interface"]["name"] for r in summaries(records, there.there)} == {"lo"}
        told, records = finish(link, there)
        assert told["total"] == TURNS and events(records, "delay_analysis_in")["filtered"] > 2 * TURNS
        assert {r["network"]["interface"]["name"] for r in summaries(records, there.there)} == {"near0"}
