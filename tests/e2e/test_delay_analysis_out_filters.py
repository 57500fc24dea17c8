# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_out: filters select exactly. Several runs of netline watch the same packets, each with another filter."""
import contextlib
import math
import socket

import pytest

from connections import timestamp
from delays import assert_summary, by_time_wait, count_of, summaries
from delays_out import IPS, PROBE, assert_same, has_all, in_namespace, link, loopback, lost_so_far, of_packets, out_agent, told_of
from harness import PREEMPTS_TRACEPOINTS, SCALE, Namespace, assert_loss_equation, events, wait_until
from inerrs import connected_pair
from puppet import Puppet
from segments import SYN, in_namespace_of
from transfers import Talk, start_of

PORT_4, PORT_6, CLIENT_PORT = 1801, 1802, 1900
STAGES = {"ip", "tcp", "qdisc", "total"}
TURNS = ((100, 200), (3, 20_000), (1, 1))  # nothing of it is larger than the kernel leaves in one piece
CALLS = ((IPS[0], PORT_4, None), (IPS[1], PORT_6, CLIENT_PORT), (IPS[2], PORT_4, CLIENT_PORT))

# Arguments of (lab), and which packets they want; a packet of TIME_WAIT is nobody's.
FILTERS = {
    "ports": {
        "source": (lambda lab: ["--sport", PORT_4], lambda p, _: p.sport == PORT_4),
        "destinations": (lambda lab: ["--dport", f"{PORT_4},{PORT_6}"], lambda p, _: p.dport in (PORT_4, PORT_6)),
        "both": (lambda lab: ["-sp", CLIENT_PORT, "-dp", PORT_6], lambda p, _: (p.sport, p.dport) == (CLIENT_PORT, PORT_6)),
        "excluded": (lambda lab: ["--exclude-port", f"{PORT_6},1"], lambda p, _: PORT_6 not in (p.sport, p.dport)),
        "local": (lambda lab: ["-P", f"{CLIENT_PORT},{PORT_4}"], lambda p, _: p.sport in (CLIENT_PORT, PORT_4)),
    },
    "others": {
        "ipv4": (lambda lab: ["-4"], lambda p, _: ":" not in p.source),
        "ipv6": (lambda lab: ["-6"], lambda p, _: ":" in p.source),
        "client": (lambda lab: ["--pid", lab.client.pid], lambda p, time_wait: p.dport in (PORT_4, PORT_6) and not time_wait),
        "server": (lambda lab: ["-p", f"{lab.server.pid},1"], lambda p, _: p.sport in (PORT_4, PORT_6) and not p.flags & SYN),
        "nobody": (lambda lab: ["--pid", 4194304], lambda p, _: False),
    },
}


def talk_to_all(lab):
    for ip, port, local_port in CALLS:
        lab.talk(ip, TURNS, port, local_port, late=port == PORT_6)


@pytest.mark.any_way
@pytest.mark.parametrize("group", FILTERS)
def test_filters(group, tmp_path):
    with loopback(tmp_path) as lab, contextlib.ExitStack() as stack:
        agents = {name: stack.enter_context(out_agent(*args(lab), ns=lab.ns)) for name, (args, _) in FILTERS[group].items()}
        talk_to_all(lab)
        packets = lab.all_packets()
        for name, (_, wanted) in FILTERS[group].items():
            selected = [told for packet, told, time_wait in zip(packets, of_packets(packets), by_time_wait(packets, lab.late)) if wanted(packet, time_wait)]
            agents[name].wait_for(lambda records: has_all(records, in_namespace(records, lab.ns), len(selected)))
            records = agents[name].stop()
            counted = assert_same(records, map(told_of, in_namespace(records, lab.ns)), selected)
            assert counted["produced"] == len(packets) or counted["lost"], name
            assert counted["filtered"] == len(packets) - len(selected) or counted["lost"], name


@pytest.mark.any_way
def test_nic(tmp_path):
    """Traffic over a link and over loopback."""
    with link(tmp_path) as lab, contextlib.ExitStack() as stack:
        agents = {nic: stack.enter_context(out_agent("--nic", nic, ns=lab.here)) for nic in ("eth0", "lo")}
        listener, port = lab.server.listen(6)
        Talk(lab.client, lab.server, listener, "10.77.0.2", port).move(10_000, 10).finish()
        packets, _ = lab.all_packets()
        n = lab.counters[0].sent[0]
        server = Puppet(lab.here, "server")
        listener, other_port = server.listen(6)
        Talk(lab.client, server, listener, "127.0.0.1", other_port).move(10_000, 10).finish()
        server.close(listener)
        lab.wait_for_ends()
        there = lab.counters[0].sent[0] - n
        for nic, wanted in (("eth0", n), ("lo", there)):
            agents[nic].wait_for(lambda records: has_all(records, in_namespace(records, lab.here), wanted))
            records = agents[nic].stop()
            found = in_namespace(records, lab.here)
            assert {r["network"]["interface"]["name"] for r in found} == {nic}
            counted = assert_loss_equation(records, PROBE)
            assert (counted["emitted"], counted["filtered"], counted["lost"]) == (wanted, n + there - wanted, 0) or counted["lost"]
            if nic == "eth0":
                assert_same(records, map(told_of, found), of_packets([p for p in packets if p.sport != port]))


def make_nic(ns):
    """A NIC whose packets nobody answers."""
    for command in ("link add back0 type veth peer name other0", "address add 10.88.0.1/24 dev back0", "link set back0 up", "link set other0 up",
                    "neighbour add 10.88.0.9 lladdr 02:00:00:00:00:09 dev back0"):
        ns.run(["ip", *command.split()])


def call(ns, port):
    with in_namespace_of(ns, socket.socket) as s:
        s.setblocking(False)
        s.connect_ex(("10.88.0.9", port))


@pytest.mark.any_way
def test_nic_that_is_made_again():
    """It has the same name then, and another index."""
    with Namespace() as ns:
        make_nic(ns)
        with out_agent("--nic", "back0", "--interval", "0.1", ns=ns) as agent:
            for port in (1, 2):
                wait_until(lambda: call(ns, port) or [r for r in in_namespace(agent.records(), ns) if r["destination"]["port"] == port])
                if port == 1:
                    ns.run(["ip", "link", "delete", "back0"])
                    make_nic(ns)
            agent.stop()


@pytest.mark.any_way
@pytest.mark.parametrize("rate", [10, 100])
def test_sample(rate, tmp_path):
    """One packet in so many, at random: as many as five standard deviations allow."""
    with loopback(tmp_path) as lab, out_agent(f"--sample={rate}", ns=lab.ns) as agent:
        client, server = connected_pair(lab.ns, lab.ns, "127.0.0.1")
        with client, server:
            for _ in range(10_000 // SCALE):
                for a, b in ((client, server), (server, client)):
                    a.send(b"x")
                    b.recv(1)
        n = len(lab.all_packets())
        records = agent.stop()
        found = in_namespace(records, lab.ns)
        counted = assert_loss_equation(records, PROBE)
        assert n >= 20_000 // SCALE and (counted["produced"] == n or counted["lost"])
        assert abs(len(found) - n / rate) <= 5 * math.sqrt(n / rate * (1 - 1 / rate)), f"{len(found)} of {n}"
        assert counted["filtered"] == n - len(found) or counted["lost"]
        assert {r["netline"]["sample_rate"] for r in found} == {rate}


def test_summary(tmp_path):
    """Every tick a record for each stage; over the whole run each packet is in each. Of a process: of its packets."""
    with loopback(tmp_path) as lab, contextlib.ExitStack() as stack:
        args = ["--summary", "--interval", "0.1"]
        agents = [stack.enter_context(out_agent(*args, *more, ns=lab.ns)) for more in ([], ["--pid", lab.client.pid], ["-4"])]
        talk_to_all(lab)
        packets = lab.all_packets()
        of_client = [p for p, time_wait in zip(packets, by_time_wait(packets, lab.late)) if p.dport in (PORT_4, PORT_6) and not time_wait]
        wanted = packets, of_client, [p for p in packets if ":" not in p.source]
        for agent, expected in zip(agents, wanted):
            agent.wait_for(lambda records: count_of(summaries(records, lab.ns, "egress", "ip")) + lost_so_far(records) >= len(expected))
            records = agent.stop()
            assert_all_summed_up(records, lab.ns, len(expected), len(packets))
            assert_each_summary(summaries(records, lab.ns, "egress"))
            assert not in_namespace(records, lab.ns), "a record for each packet"


def assert_all_summed_up(records, ns, expected, produced):
    """
    Each packet is in each stage; but a connection in TIME_WAIT puts no stamp on its ACK. Where tracepoints are preempted some may be
    missing, but no more than were counted as lost.
    """
    counted = events(records, PROBE)
    told = {stage: count_of(summaries(records, ns, "egress", stage)) for stage in STAGES}
    lost, unstamped = counted["lost"], told["ip"] - told["tcp"]
    assert lost == 0 or PREEMPTS_TRACEPOINTS, counted
    assert counted["produced"] == counted["emitted"] + counted["filtered"] + lost, counted
    assert produced <= counted["produced"] <= produced + lost, (counted, produced)
    assert expected - lost <= told["ip"] <= expected, (counted, expected)
    assert counted["emitted"] == told["ip"] == told["qdisc"] and told["tcp"] == told["total"] and 0 <= unstamped <= len(CALLS), told


def assert_each_summary(found):
    for record in found:
        assert_summary(record)
        assert record["network"]["interface"] == {"name": "lo"} and record["netline"]["sample_rate"] == 1
    ticks = sorted({(start_of(r), timestamp(r)) for r in found})
    assert all(end <= start for (_, end), (start, _) in zip(ticks, ticks[1:])), "one tick after the other"
    assert len({(timestamp(r), r["netline"]["delay"]["stage"]) for r in found}) == len(found), "one record a stage and tick"
