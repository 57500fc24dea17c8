# SPDX-License-Identifier: BSD-2-Clause
"""tcp_inerrs: floods, whose packets are all counted or counted as lost, and the coalescing of what comes within a second."""
import collections
import subprocess

import pytest

from connections import assert_within, in_namespace as connections_in, timestamp
from harness import SCALE, of_dataset, program
from inerrs import assert_inerrs_equation, assert_owned, count_of, in_namespace, inerrs_agent, lab, wait_for_count
from segments import ACK, counters, tcp

pytestmark = pytest.mark.any_way
RATE = 100_000 // SCALE
SECONDS = 10 // SCALE
MANY_FLOWS = 40_000 if SCALE == 1 else 1_000  # each is a record, which takes a slow machine its time to check
FLOWS_HELD = 16384  # in a second
SECOND = 1_000_000_000


def blast(there, packets, count, rate):
    """Sends packets by turns; the process, of which the output is how long it took."""
    process = there.here.popen([program("blast"), count, rate], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write("".join(f"{packet.hex()}\n" for packet in packets))
    process.stdin.close()
    return process


def finished(process, limit=120):
    assert process.wait(limit) == 0
    return int(process.stdout.read())


def bad_packet(there, connection, **kw):
    source, destination = connection.source, connection.destination
    segment = tcp(source[0], destination[0], (source[1], destination[1]), connection.expected, connection.sent, ACK, **kw)
    return there.sender.packet(source[0], destination[0], segment)


def test_flood_of_two_flows():
    """Every packet is counted, none is lost, and the records of another probe go on."""
    with lab() as there, inerrs_agent("tcp_connection") as agent:
        first, second = there.connect(), there.connect()
        before = counters(there.there)
        count = RATE * SECONDS
        process = blast(there, [bad_packet(there, first, good=False), bad_packet(there, second, data_offset=4)], count, RATE)
        meanwhile = 0
        while process.poll() is None:
            there.connect()
            meanwhile += 1
            agent.wait_for(lambda records: len(connections_in(records, there.there)) >= 2 * (2 + meanwhile), 2)
        took = finished(process)
        after = counters(there.there)
        wait_for_count(agent, there.there, count, 10)
        records = agent.stop()
        found = in_namespace(records, there.there)
        by_flow = collections.defaultdict(list)
        for record in found:
            by_flow[record["event"]["reason"]].append(record)
            assert_owned(record, there)
        assert {reason: count_of(some) for reason, some in by_flow.items()} == {"bad_checksum": count // 2, "bad_data_offset": count // 2}
        assert after["InCsumErrors"] - before["InCsumErrors"] == count // 2 and after["InErrs"] - before["InErrs"] == count
        for some in by_flow.values():
            assert len(some) <= 2 * (took // SECOND + 3), "at most two records a second"
            assert 2 * sum(r["netline"]["inerr"]["count"] == 1 for r in some) >= len(some), "half of them the first of a second"
        assert meanwhile >= 1
    assert_inerrs_equation(records)["lost"] == 0


def told_lost(records):
    return sum(r["netline"]["lost"]["count"] for r in of_dataset(records, "agent_lost"))


def test_flood_of_many_flows():
    """More than a second's maps hold: what is not in records is counted as lost."""
    with lab() as there, inerrs_agent() as agent:
        connection = there.connect()
        packets = []
        for number in range(MANY_FLOWS):
            segment = tcp(there.ip, there.ip, (1024 + number, connection.port), 7, 0, good=False)
            packets.append(there.sender.packet(there.ip, there.ip, segment))
        took = finished(blast(there, packets, MANY_FLOWS, 0))
        agent.wait_for(lambda records: count_of(in_namespace(records, there.there)) + told_lost(records) >= MANY_FLOWS, 60)
        records = agent.stop()
        lost = assert_inerrs_equation(records)["lost"]
        assert count_of(in_namespace(records, there.there)) + lost == MANY_FLOWS
        assert lost >= MANY_FLOWS - (took // SECOND + 2) * FLOWS_HELD


def test_a_second_is_two_records():
    """The first at once and alone, the others with their number and the first's fields."""
    with lab() as there, inerrs_agent() as agent:
        connection = there.connect()
        sent = [connection.send(number, flags=ACK, good=False) for number in range(5)]
        wait_for_count(agent, there.there, 5)
        found = in_namespace(agent.stop(), there.there)
        assert found[0]["netline"]["inerr"]["count"] == 1 and found[0]["netline"]["tcp"]["seq"] == sent[0]["seq"]
        rest = found[1:]
        assert 1 <= len(rest) <= 3  # two, where a second ends in between
        assert sum(r["netline"]["inerr"]["count"] for r in rest) == 4
        if len(rest) == 1:
            assert_within(timestamp(rest[0]), timestamp(found[0]), timestamp(found[0]))
            assert rest[0]["netline"]["tcp"] == found[0]["netline"]["tcp"]


def test_what_gathers_is_told_at_the_end():
    """Nothing waits for its second when netline ends."""
    with lab() as there, inerrs_agent() as agent:
        connection = there.connect()
        for _ in range(10):
            connection.send(good=False)
        records = agent.stop()
        assert count_of(in_namespace(records, there.there)) == 10
        assert_inerrs_equation(records)
