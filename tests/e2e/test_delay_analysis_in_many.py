# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_in: very many packets. Each is told, or counted as lost; how many have an end that is not known is printed."""
import subprocess

import pytest

from counted import MIB, Counted, under_way
from delays_in import delays_agent, ends_of, finish, in_namespace, joined, received, repeated_fins, to_port, with_end
from harness import PREEMPTS_TRACEPOINTS, SCALE, Namespace, assert_loss_equation, events, of_dataset, program
from inerrs import lab, transfer
from puppet import Traffic
from segments import counters
from transfers import wait_for_no_sockets

pytestmark = pytest.mark.any_way

TURNS = 500_000 // SCALE**2  # two packets each
ENDS = ("read", "processed", "coalesced", "backlog_coalesced", "out_of_order", "dropped", "unknown")


def print_share(what, ends):
    total = sum(ends.values())
    print(f"{what}: {total} packets, {ends['unknown']} of unknown end ({100 * ends['unknown'] / total:.4f} %); {dict(ends)}")


def wait_for_most(agent, ns):
    """Until records are nearly as many as packets: netline waits for 5 s at the end, not for a test that takes its time to read."""
    agent.wait_for(lambda records: len(records) >= 0.95 * received(ns), 60)


@pytest.mark.parametrize("ip, over_veth, offloads, mib", [
    ("127.0.0.1", False, "on", 100), ("::1", False, "on", 40), ("10.77.0.2", True, "on", 40), ("fd77::2", True, "off", 8)])
def test_bulk(ip, over_veth, offloads, mib):
    """What the kernel has merged is told as merged. Without offloads each segment is a packet."""
    with lab(ip, over_veth) as there, delays_agent("--ring-size", "16M", ns=there.there) as agent:
        if over_veth:
            there.here.run(["ethtool", "-K", "far0", "tso", offloads, "gso", offloads])
        with joined(there) as (client, server):
            transfer(client, server, mib * MIB // SCALE)
        wait_for_most(agent, there.there)
        found, _ = finish(agent, there)
        kernel = counters(there.there)
        data = [r for r in to_port(found, there.port) if r["netline"]["delay"]["end"] != "processed"]
        ends = ends_of(data)
        print_share(f"bulk {ip}", ends)
        assert ends["unknown"] <= len(data) / 100
        lacking = [r for r in found if not {"mac_ns", "ip_ns"} <= r["netline"]["delay"].keys()]
        assert len(lacking) <= len(found) / (100 if PREEMPTS_TRACEPOINTS else 1000), (len(lacking), len(found), lacking[:3])
        merged, in_backlog = kernel["TCPRcvCoalesce"], kernel["TCPBacklogCoalesce"]  # the latter: packets without data as well, which loopback has
        assert abs(ends["coalesced"] - merged) <= ends["unknown"] or PREEMPTS_TRACEPOINTS, (ends, merged)
        least = in_backlog - ends["unknown"] if over_veth else 0
        assert least <= ends["backlog_coalesced"] <= in_backlog or PREEMPTS_TRACEPOINTS, (ends, in_backlog)
        assert ends["dropped"] == kernel["DelayedACKLost"] or ends["unknown"] or PREEMPTS_TRACEPOINTS, "data that was sent again in vain"


def test_many_connections():
    """They begin and end in all ways, with several processes: everything that TCP was given is accounted."""
    with Namespace() as ns, delays_agent("--ring-size", "16M", ns=ns) as agent:
        traffic = Traffic(ns, 3000 // SCALE**2, max_bytes=1 << 16)
        traffic.run()
        wait_for_no_sockets(ns)
        given = received(ns)
        wait_for_most(agent, ns)
        records = agent.stop()
        counted = assert_loss_equation(records, "delay_analysis_in")
        found = in_namespace(records, ns)
        ends = ends_of(found)
        print_share("many connections", ends)
        assert (counted["produced"], counted["lost"]) == (given, 0) or PREEMPTS_TRACEPOINTS
        assert ends["unknown"] <= len(found) / (20 if PREEMPTS_TRACEPOINTS else 100), "a program that is skipped knows no end"
        assert {r["process"]["pid"] for r in with_end(found, "read")} <= {*traffic.pids}


def test_million():
    """Requests and responses, a packet each. Then none is under way any more, but for those that will be told as of unknown end."""
    with lab() as there, Counted({end: b'"end":"%s"' % end.encode() for end in ENDS}) as counted:
        with delays_agent("--ring-size", "64M", ns=there.there, stdout=counted.writer) as agent:
            counted.close()
            process = there.there.popen([program("pingpong"), "127.0.0.1", TURNS, 100], stdout=subprocess.PIPE, text=True)
            took, _ = process.communicate(timeout=60 * SCALE)
            assert process.returncode == 0
            wait_for_no_sockets(there.there)
            given, left = received(there.there), under_way(agent)
            agent.stop()
    records, ends = counted.kept(), counted.counts
    told = events(records, "delay_analysis_in")
    print_share("a million", ends)
    print(f"{told}; {int(took) / TURNS / 2:.0f} ns a packet; {left} left; {[r['message'] for r in of_dataset(records, 'agent_lost')]}")
    assert told["produced"] == told["emitted"] + told["filtered"] + told["lost"]
    assert told["emitted"] == sum(ends.values())
    unmatched = sum(r["netline"]["lost"]["count"] for r in of_dataset(records, "agent_lost") if r["event"]["reason"] == "unmatched")
    if not PREEMPTS_TRACEPOINTS:
        assert told["produced"] == given >= 2 * TURNS
        assert unmatched <= TURNS / 10_000
        assert ends["unknown"] <= TURNS / 1000 and left <= ends["unknown"]
        if not told["lost"]:
            assert ends["read"] + ends["unknown"] >= 2 * TURNS and not told["filtered"]
