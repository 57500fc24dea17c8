# SPDX-License-Identifier: BSD-2-Clause
"""tcp_connection: filters select exactly and are counted; what the ring cannot hold is counted, too."""
import contextlib
import os
import signal

import pytest

from cgroups import Cgroup
from connections import addresses, addresses_of, in_namespace, tcp_agent
from harness import PREEMPTS_TRACEPOINTS, Namespace, assert_loss_equation, of_dataset
from puppet import Puppet, Traffic

PORT_4, PORT_6, CLIENT_PORT = 1801, 1802, 1900


class Mix:
    """Two clients in the cgroup (one of them below it) and one outside, a server outside; all kinds of addresses."""

    def __init__(self, ns, cgroup):
        self.ns = ns
        self.server = Puppet(ns, "server")
        self.inside = Puppet(ns, "inside", cgroup.enter)
        self.below = Puppet(ns, "below", cgroup.enter_child)
        self.outside = Puppet(ns, "outside")
        self.events = []  # (action, puppet, answer)

    def run(self):
        listeners = {port: self.server.listen(6, port)[0] for port in (PORT_4, PORT_6)}
        for client, local_port in ((self.inside, None), (self.below, CLIENT_PORT), (self.outside, None)):
            for ip, port in (("127.0.0.1", PORT_4), ("::ffff:127.0.0.1", PORT_4), ("::1", PORT_6)):
                connected = client.connect(ip, port, local_port=local_port if port == PORT_6 else None)
                assert connected.result == 0, connected
                accepted = self.server.accept(listeners[port])
                self.events += [("connect", client, connected), ("accept", self.server, accepted)]


# What each filter wants, of (mix, action, puppet, answer). Local ports are those of the side that the event is about.
FILTERS = {
    "pid": (lambda mix: ["--pid", mix.inside.pid], lambda mix, action, who, answer: who is mix.inside),
    "pids": (lambda mix: ["-p", f"{mix.inside.pid},{mix.server.pid}"],
             lambda mix, action, who, answer: who in (mix.inside, mix.server)),
    "port": (lambda mix: ["--port", PORT_4], lambda mix, action, who, answer: answer.local_port == PORT_4),
    "client port": (lambda mix: ["-P", f"{CLIENT_PORT},{PORT_6}"],
                    lambda mix, action, who, answer: answer.local_port in (CLIENT_PORT, PORT_6)),
    "connect": (lambda mix: ["--direction", "connect"], lambda mix, action, who, answer: action == "connect"),
    "accept": (lambda mix: ["-r", "accept"], lambda mix, action, who, answer: action == "accept"),
    "ipv4": (lambda mix: ["-4"], lambda mix, action, who, answer: answer.local != "::1"),
    "ipv6": (lambda mix: ["-6"], lambda mix, action, who, answer: answer.local == "::1"),
    "all at once": (lambda mix: ["-4", "-p", mix.outside.pid, "-r", "connect"],
                    lambda mix, action, who, answer: who is mix.outside and answer.local != "::1"),
    "nobody": (lambda mix: ["--pid", "4194304"], lambda mix, action, who, answer: False),
}


def assert_selects(mix, args, wanted):
    """
    Others on this machine may connect as well: a second netline without filters says how many those were. If there
    were none, the count of `filtered` has to be exact.
    """
    with tcp_agent() as witness:
        with tcp_agent(*args) as agent:
            mix.run()
            selected = [event for event in mix.events if wanted(*event)]
            agent.wait_for(lambda records: len(in_namespace(records, mix.ns)) >= len(selected))
            witness.wait_for(lambda records: len(in_namespace(records, mix.ns)) >= len(mix.events))
            records = agent.stop()
        all_records = witness.stop()
    found = {(r["event"]["action"], *addresses(r)) for r in in_namespace(records, mix.ns)}
    assert found == {(f"tcp-{action}", *addresses_of(answer)) for action, _, answer in selected}
    assert len(in_namespace(records, mix.ns)) == len(found)
    rest, foreign = len(mix.events) - len(selected), len(of_dataset(all_records, "tcp_connection")) - len(mix.events)
    counters = assert_loss_equation(records, "tcp_connection")
    assert counters["lost"] == 0 or PREEMPTS_TRACEPOINTS
    assert rest <= counters["filtered"] <= rest + foreign
    return in_namespace(all_records, mix.ns)


@pytest.mark.any_way
@pytest.mark.parametrize("name", FILTERS)
def test_filters(name):
    args, wanted = FILTERS[name]
    with Cgroup() as cgroup, Namespace() as ns:
        mix = Mix(ns, cgroup)
        assert_selects(mix, args(mix), lambda *event: wanted(mix, *event))


@pytest.mark.any_way
@pytest.mark.parametrize("by", ["path", "id", "child"])
def test_cgroup_filter(by):
    """A cgroup means those below it, too. The record names the cgroup in which the socket was made."""
    with Cgroup() as cgroup, Namespace() as ns:
        mix = Mix(ns, cgroup)
        argument = {"path": cgroup.path, "id": cgroup.id, "child": cgroup.child}[by]
        inside = (mix.below,) if by == "child" else (mix.inside, mix.below)
        everything = assert_selects(mix, ["--cgroup", argument], lambda action, who, answer: who in inside)
        cgroups = {r["process"]["pid"]: int(r["netline"]["socket"]["cgroup"]) for r in everything}
        assert (cgroups[mix.inside.pid], cgroups[mix.below.pid]) == (cgroup.id, cgroup.child_id)
        assert cgroups[mix.outside.pid] == cgroups[mix.server.pid] not in (cgroup.id, cgroup.child_id)


@pytest.mark.any_way
def test_accepted_sockets_have_the_listeners_cgroup():
    with Cgroup() as cgroup, Namespace() as ns, tcp_agent("--cgroup", cgroup.path) as agent:
        server, client = Puppet(ns, "server", cgroup.enter), Puppet(ns, "client")
        listener, port = server.listen(4)
        connected = client.connect("127.0.0.1", port)
        server.accept(listener)
        agent.wait_for(lambda records: in_namespace(records, ns))
        record, = in_namespace(agent.stop(), ns)
        assert (record["event"]["action"], addresses(record)) == ("tcp-accept", addresses_of(connected))
        assert record["netline"]["socket"]["cgroup"] == str(cgroup.id)


@pytest.mark.any_way
@pytest.mark.parametrize("option, expected", [
    ("--pid", []), ("-6", []), ("--direction", [("tcp-connect", None)] * 2),
    ("--port", [("tcp-accept", "closed"), ("tcp-accept", "pending")]),
])
def test_filters_on_what_is_never_accepted(option, expected):
    """It has no owner, so --pid refuses it, even that of the process that listens; the other filters are about the socket."""
    with Namespace() as ns:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4, PORT_4)
        argument = {"--pid": [server.pid], "-6": [], "--direction": ["connect"], "--port": [port]}[option]
        with tcp_agent() as witness, tcp_agent(option, *argument) as agent:
            reset = client.connect("127.0.0.1", port)
            server.must("readable", listener)
            client.must("linger0", reset.socket)
            client.close(reset.socket)
            client.connect("127.0.0.1", port)
            witness.wait_for(lambda records: len(in_namespace(records, ns)) == 3)
            records = agent.stop()
        found = [(r["event"]["action"], r["netline"].get("accept", {}).get("state")) for r in in_namespace(records, ns)]
        assert sorted(found, key=str) == expected, "in any order: what is pending at the end does not come by the ring"
        assert assert_loss_equation(records, "tcp_connection")["filtered"] >= 4 - len(expected)


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_full_ring_is_counted():
    """--pid keeps all others out: what is not in a record is lost, to the last event."""
    with Namespace() as ns:
        traffic = Traffic(ns, 300)
        with tcp_agent("--ring-size", 4096, "--pid", ",".join(map(str, traffic.pids))) as agent:
            with stopped(agent.pid):
                connects, accepts = traffic.run()
            agent.wait_for(lambda records: of_dataset(records, "agent_lost"))
            records = agent.stop()
        counters = assert_loss_equation(records, "tcp_connection")
        total, seen = len(connects) + len(accepts), len(in_namespace(records, ns))
        assert total == 600 and 0 < seen < total, "the ring holds some, but not all"
        lost = {}
        for loss in of_dataset(records, "agent_lost"):
            kind = loss["netline"]["lost"]["stage"], loss["event"]["reason"]
            assert loss["netline"]["lost"]["dataset"] == "netline.tcp_connection"
            lost[kind] = lost.get(kind, 0) + loss["netline"]["lost"]["count"]
            assert loss["netline"]["lost"]["count_total"] == lost[kind]
        assert sum(lost.values()) == counters["lost"]
        skipped = lost.pop(("kernel", "recursion"), 0)
        assert skipped == 0 or PREEMPTS_TRACEPOINTS
        if PREEMPTS_TRACEPOINTS:
            skipped += counters["filtered"]  # accepts of which the kernel skipped the program: without a process they are none of --pid
            assert skipped <= total / 5
        assert list(lost) == [("kernel", "ring_full")]
        assert total - seen - skipped <= lost["kernel", "ring_full"] <= total - seen
