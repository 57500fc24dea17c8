# SPDX-License-Identifier: BSD-2-Clause
"""
delay_analysis_in: filters select exactly. Several runs of netline watch the same packets, each with another filter, and one without tells
which there are.
"""
import collections
import contextlib
import math
import time

import pytest

from delays_in import assert_reader, delays_agent, echo, ends_of, finish, joined, packet_of, receive, received, send_and_wait, with_end
from harness import PREEMPTS_TRACEPOINTS, SCALE, assert_loss_equation
from inerrs import lab
from puppet import Puppet
from segments import ACK, SYN, tcp
from transfers import Talk

pytestmark = pytest.mark.any_way
PORT_4, PORT_6, CLIENT_PORT = 1801, 1802, 1900
FAR_PORT = 1803
TURNS = 10


class Mix:
    """Connections of both families over loopback and over a link, between processes that are known, and packets that nobody waits for."""

    def __init__(self, there):
        self.there, self.near = there, Puppet(there.there, "near")
        self.server, self.far = there.server, there.client

    def run(self):
        listeners = {port: self.server.listen(6, port)[0] for port in (PORT_4, PORT_6, FAR_PORT)}
        for client, ip, port, local_port in ((self.near, "127.0.0.1", PORT_4, None), (self.near, "::ffff:127.0.0.1", PORT_4, None),
                                             (self.near, "::1", PORT_6, CLIENT_PORT), (self.far, "10.77.0.2", FAR_PORT, None),
                                             (self.far, "fd77::2", FAR_PORT, None)):
            talk = Talk(client, self.server, listeners[port], ip, port, local_port=local_port)
            for _ in range(TURNS):
                talk.move(100, 0)
                talk.move(0, 100)
            talk.finish()
        for number, flags in enumerate((SYN, ACK)):
            self.there.sender.send("10.77.0.1", "10.77.0.2", tcp("10.77.0.1", "10.77.0.2", (4001, 1), number, 0, flags))


def ports(record):
    return record["source"]["port"], record["destination"]["port"]


def is_syn(record):
    return record["netline"]["tcp"]["flags"] == "SYN"


def nic(record):
    return record["network"]["interface"]["name"]


# Arguments, and what each wants.
FILTERS = {
    "ports": {
        "--sport": (["--sport", PORT_4], lambda r: ports(r)[0] == PORT_4),
        "-sp": (["-sp", f"{CLIENT_PORT},{PORT_4}"], lambda r: ports(r)[0] in (CLIENT_PORT, PORT_4)),
        "--dport": (["--dport", PORT_6], lambda r: ports(r)[1] == PORT_6),
        "both": (["-sp", PORT_6, "-dp", CLIENT_PORT], lambda r: ports(r) == (PORT_6, CLIENT_PORT)),
        "--exclude-port": (["--exclude-port", f"{PORT_4},1"], lambda r: not {PORT_4, 1} & {*ports(r)}),
        "-P": (["-P", f"{CLIENT_PORT},{FAR_PORT}"], lambda r: ports(r)[1] in (CLIENT_PORT, FAR_PORT)),
        "none": (["-P", 9], lambda r: False),
    },
    "others": {
        "-4": (["-4"], lambda r: r["network"]["type"] == "ipv4"),
        "-6": (["-6"], lambda r: r["network"]["type"] == "ipv6"),
        "--nic": (["--nic", "near0"], lambda r: nic(r) == "near0"),
        "lo": (["-n", "lo", "-4", "--exclude-port", PORT_6], lambda r: nic(r) == "lo" and r["network"]["type"] == "ipv4"),
        "both NICs": (["-n", "lo,near0"], lambda r: True),
    },
}


@pytest.mark.parametrize("group", FILTERS)
def test_filters(group):
    with lab("10.77.0.2", True) as there, contextlib.ExitStack() as stack:
        watched = {name: (stack.enter_context(delays_agent(*args, ns=there.there)), wanted) for name, (args, wanted) in FILTERS[group].items()}
        witness = stack.enter_context(delays_agent(ns=there.there))
        Mix(there).run()
        every, _ = finish(witness, there)
        for name, (agent, wanted) in watched.items():
            found, records = finish(agent, there)
            expected = [r for r in every if wanted(r)]
            assert told(found) == told(expected), name
            assert assert_loss_equation(records, "delay_analysis_in")["filtered"] == len(every) - len(expected) or PREEMPTS_TRACEPOINTS
            assert bool(expected) == (name != "none") and (name == "both NICs" or len(expected) < len(every))


def told(records):
    """What two runs of netline tell alike."""
    return collections.Counter((packet_of(r), r["netline"]["delay"]["end"], str(r.get("process"))) for r in records)


def test_pid():
    """The owner of the socket to which a packet comes, be it the listener: who has closed owns nothing any more."""
    with lab("10.77.0.2", True) as there, contextlib.ExitStack() as stack:
        mix = Mix(there)
        pids = {"server": mix.server.pid, "near": mix.near.pid, "both": f"{mix.server.pid},{mix.near.pid}", "far": mix.far.pid}
        watched = {name: stack.enter_context(delays_agent("--pid", pid, ns=there.there)) for name, pid in pids.items()}
        witness = stack.enter_context(delays_agent(ns=there.there))
        mix.run()
        every, _ = finish(witness, there)
        of_server = [r for r in every if ports(r)[1] in (PORT_4, PORT_6, FAR_PORT)]
        of_near = [r for r in every if ports(r)[0] in (PORT_4, PORT_6)]
        for (name, agent), wanted in zip(watched.items(), (of_server, of_near, of_server + of_near, [])):
            found, records = finish(agent, there)
            assert not told(found) - told(wanted), name
            assert told(with_end(found, "read")) == told(with_end(wanted, "read")), name
            assert told(filter(is_syn, found)) == told(filter(is_syn, wanted)), name
            assert_loss_equation(records, "delay_analysis_in")


def test_sample():
    """One packet in four, at random: as many as that lets expect, and all others are counted."""
    rate = 4
    with lab() as there, delays_agent(f"--sample={rate}", ns=there.there) as agent:
        with joined(there) as (client, server):
            echo(client, server, 8000 // SCALE)
        given = received(there.there)
        found, records = finish(agent, there)
    sigma = math.sqrt(given * (1 / rate) * (1 - 1 / rate))
    assert abs(len(found) - given / rate) <= 5 * sigma, f"{len(found)} of {given}"
    assert {r["netline"]["sample_rate"] for r in found} == {rate}
    assert ends_of(found)["unknown"] <= len(found) / 100
    assert assert_loss_equation(records, "delay_analysis_in")["filtered"] == given - len(found) or PREEMPTS_TRACEPOINTS
    reads = with_end(found, "read")
    assert reads and all("duration" in r["event"] for r in reads)
    for record in reads[:10]:
        assert_reader(record)


def test_min_latency():
    """What waits for 50 ms is told, and all else only if it took as long as 20 ms."""
    late, limit = 50_000_000, 20_000_000
    with lab() as there, delays_agent("--min-latency", limit, ns=there.there) as agent:
        with joined(there) as (client, server):
            echo(client, server, 200)
            for _ in range(TURNS):
                send_and_wait(there.here, client, bytes(1000))
                time.sleep(late / 1e9)
                receive(server, 1000)
        given = received(there.there)
        found, records = finish(agent, there)
    assert all(r["event"]["duration"] >= limit for r in found)
    assert len([r for r in found if r["event"]["duration"] >= late and r["netline"]["packet"]["bytes"] > 1000]) == TURNS
    assert assert_loss_equation(records, "delay_analysis_in")["filtered"] == given - len(found) >= 400 or PREEMPTS_TRACEPOINTS
