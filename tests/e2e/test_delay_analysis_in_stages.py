# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_in: a delay that a test causes stands in the stage in which it was, and in no other."""
import statistics
import time

import pytest

from delays_in import (assert_all_stages, assert_reader, delays_agent, filter_input, finish, joined, listen, receive, send_and_wait, tcp_socket,
                       to_port, port_of, with_end)
from inerrs import TWO_WAYS_THERE, lab

PLACES = [*TWO_WAYS_THERE, ("::ffff:10.77.0.2", True)]
TIMES = 20
RULES = 10_000
LATE_NS = 50_000_000


def median(records, stage):
    return statistics.median(r["netline"]["delay"][stage] for r in records)


@pytest.mark.any_way  # what wakes the reader is hooked in the same way
@pytest.mark.parametrize("ip, over_veth", PLACES)
def test_slow_reader(ip, over_veth):
    """It reads 50 ms after TCP has acknowledged the data."""
    with lab(ip, over_veth) as there, delays_agent(ns=there.there) as agent:
        with joined(there) as (client, server):
            for _ in range(TIMES):
                send_and_wait(there.here, client, b"x")
                time.sleep(LATE_NS / 1e9)
                receive(server, 1)
        found, _ = finish(agent, there)
    late = with_end(to_port(found, there.port), "read")
    assert len(late) == TIMES
    assert_all_stages(late)
    for record in late:
        told = record["netline"]["delay"]
        assert told["socket_wait_ns"] >= LATE_NS and record["event"]["duration"] >= LATE_NS, record
        assert_reader(record)
    assert all(median(late, stage) < LATE_NS / 5 for stage in ("mac_ns", "ip_ns", "protocol_ns"))


@pytest.mark.parametrize("ip, over_veth", PLACES)
def test_many_rules(ip, over_veth):
    """Of two connections used by turns only one goes through thousands of rules: that is time in IP, and TCP knows nothing of it."""
    with lab(ip, over_veth) as there, delays_agent(ns=there.there) as agent, listen(there.there, ip) as listener:
        long_port = port_of(listener)
        filter_input(there.there, "add chain inet t long", *["add rule inet t long tcp sport 1 drop"] * RULES,
                     f"add rule inet t input tcp dport {long_port} jump long")
        with tcp_socket(there.here, ip) as long_client, joined(there) as (short_client, short_server):
            long_client.connect(listener.getsockname()[:2])
            with listener.accept()[0] as long_server:
                for _ in range(5 * TIMES):
                    for client, server in ((long_client, long_server), (short_client, short_server)):
                        client.sendall(b"x")
                        receive(server, 1)
        listener.close()
        found, _ = finish(agent, there)
    long, short = (with_end(to_port(found, port), "read") for port in (long_port, there.port))
    assert len(long) == len(short) == 5 * TIMES
    longer = {stage: median(long, stage) - median(short, stage) for stage in ("mac_ns", "ip_ns", "protocol_ns")}
    assert longer["ip_ns"] > 2 * median(short, "ip_ns"), longer
    assert longer["mac_ns"] < longer["ip_ns"] / 4 and longer["protocol_ns"] < longer["ip_ns"] / 4, longer
