# SPDX-License-Identifier: BSD-2-Clause
"""tcp_bytes: filters select exactly. Several runs of netline watch the same connections, each with another filter."""
import contextlib
import os
import subprocess
import sys

import pytest

from cgroups import Cgroup
from harness import NETLINE, PREEMPTS_TRACEPOINTS, Namespace, assert_loss_equation
from puppet import Puppet
from transfers import Talk, assert_side, bytes_agent, in_namespace, is_closed, records_of

PORT_4, PORT_6, CLIENT_PORT = 1801, 1802, 1900


@contextlib.contextmanager
def bpf_filesystem(path):
    subprocess.run(["mount", "-t", "bpf", "bpf", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def bpftool(*words):
    done = subprocess.run(["bpftool", *map(str, words)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"bpftool {words}: {done.stdout}{done.stderr}"


def pin_map(path, *keys, kind="hash", key_size=8):
    """A map as bcc's tools take it: the keys are what matters."""
    bpftool("map", "create", path, "type", kind, "key", key_size, "value", 8, "entries", 128, "name", path.name)
    for key in keys:
        bpftool("map", "update", "pinned", path, "key", *key.to_bytes(8, sys.byteorder), "value", *bytes(8))
    return path


def mount_namespace(pid):
    return os.stat(f"/proc/{pid}/ns/mnt").st_ino


class Mix:
    """Two clients in the cgroup (one of them below it) and one outside, a server outside; all kinds of addresses. Each has a mount namespace."""

    def __init__(self, ns, cgroup):
        self.ns, self.cgroup = ns, cgroup
        self.server = Puppet(ns, "server")
        self.inside = Puppet(ns, "inside", cgroup.enter)
        self.below = Puppet(ns, "below", cgroup.enter_child)
        self.outside = Puppet(ns, "outside")
        self.sides = []  # (puppet, answer, sent, received)
        everyone = (self.server, self.inside, self.below, self.outside)
        assert len({mount_namespace(puppet.pid) for puppet in everyone}) == 4

    def run(self):
        listeners = {port: self.server.listen(6, port)[0] for port in (PORT_4, PORT_6)}
        for number, (client, local_port) in enumerate(((self.inside, None), (self.below, CLIENT_PORT), (self.outside, None))):
            for ip, port in (("127.0.0.1", PORT_4), ("::ffff:127.0.0.1", PORT_4), ("::1", PORT_6)):
                talk = Talk(client, self.server, listeners[port], ip, port, local_port=local_port if port == PORT_6 else None)
                talk.move(1000 + len(self.sides), 5000 * (number + 1))
                talk.finish()
                self.sides += [(client, talk.connected, talk.up, talk.down), (self.server, talk.accepted, talk.down, talk.up)]


# Arguments, and what each wants, of (mix, puppet, answer). Ports are local.
FILTERS = {
    "processes": {
        "pid": (lambda mix, maps: ["--pid", mix.inside.pid], lambda mix, who, answer: who is mix.inside),
        "pids": (lambda mix, maps: ["-p", f"{mix.inside.pid},{mix.server.pid}"], lambda mix, who, answer: who in (mix.inside, mix.server)),
        "nobody": (lambda mix, maps: ["--pid", 4194304], lambda mix, who, answer: False),
        "mount namespaces": (lambda mix, maps: ["--mntnsmap", pin_map(maps / "mounts", *map(mount_namespace, (mix.outside.pid, mix.server.pid)))],
                             lambda mix, who, answer: who in (mix.outside, mix.server)),
    },
    "addresses": {
        "port": (lambda mix, maps: ["--port", PORT_4], lambda mix, who, answer: answer.local_port == PORT_4),
        "client port": (lambda mix, maps: ["-P", f"{CLIENT_PORT},{PORT_6}"], lambda mix, who, answer: answer.local_port in (CLIENT_PORT, PORT_6)),
        "ipv4": (lambda mix, maps: ["-4"], lambda mix, who, answer: answer.local != "::1"),
        "ipv6": (lambda mix, maps: ["-6"], lambda mix, who, answer: answer.local == "::1"),
    },
    "cgroups": {
        "path": (lambda mix, maps: ["--cgroup", mix.cgroup.path], lambda mix, who, answer: who in (mix.inside, mix.below)),
        "id": (lambda mix, maps: ["--cgroup", mix.cgroup.child_id], lambda mix, who, answer: who is mix.below),
        "map": (lambda mix, maps: ["--cgroupmap", pin_map(maps / "cgroups", mix.cgroup.id, 1 << 40)], lambda mix, who, answer: who is mix.inside),
        "all at once": (lambda mix, maps: ["-4", "--cgroup", mix.cgroup.path, "--cgroupmap", pin_map(maps / "child", mix.cgroup.child_id),
                                           "--mntnsmap", pin_map(maps / "mount", mount_namespace(mix.below.pid)), "-p", mix.below.pid],
                        lambda mix, who, answer: who is mix.below and answer.local != "::1"),
    },
}


def ended(records, ns, sides):
    return all(any(map(is_closed, records_of(records, ns, answer))) for _, answer, _, _ in sides)


@pytest.mark.any_way
@pytest.mark.parametrize("group", FILTERS)
def test_filters(group, tmp_path):
    with Cgroup() as cgroup, Namespace() as ns, bpf_filesystem(tmp_path) as maps, contextlib.ExitStack() as stack:
        mix = Mix(ns, cgroup)
        watched = {name: (stack.enter_context(bytes_agent(*args(mix, maps), interval="0.5")), wanted) for name, (args, wanted) in FILTERS[group].items()}
        witness = stack.enter_context(bytes_agent(interval="0.5"))
        mix.run()
        witness.wait_for(lambda records: ended(records, ns, mix.sides))
        for name, (agent, wanted) in watched.items():
            selected = [side for side in mix.sides if wanted(mix, *side[:2])]
            agent.wait_for(lambda records: ended(records, ns, selected))
            records = agent.stop()
            found = [r for side in selected for r in assert_side(records, *side)]
            assert len(found) == len(in_namespace(records, ns)), f"{name}: tells of more than it was asked for"
            counters = assert_loss_equation(records, "tcp_bytes")
            assert counters["lost"] == 0 or PREEMPTS_TRACEPOINTS
            assert counters["filtered"] >= len(mix.sides) - len(selected), name
        witness.stop()


@pytest.mark.any_way
def test_maps_may_change(tmp_path):
    """A cgroup that is put in later counts for connections from then on."""
    with Cgroup() as cgroup, Namespace() as ns, bpf_filesystem(tmp_path) as maps:
        server, client = Puppet(ns, "server"), Puppet(ns, "client", cgroup.enter)
        listener, port = server.listen(4)
        with bytes_agent("--cgroupmap", pin_map(maps / "empty")) as agent:
            before = Talk(client, server, listener, "127.0.0.1", port).move(10, 10)
            before.finish()
            bpftool("map", "update", "pinned", maps / "empty", "key", *cgroup.id.to_bytes(8, sys.byteorder), "value", *bytes(8))
            after = Talk(client, server, listener, "127.0.0.1", port).move(20, 20)
            after.finish()
            agent.wait_for(lambda records: any(map(is_closed, records_of(records, ns, after.connected))))
            records = agent.stop()
        assert len(assert_side(records, client, after.connected, 20, 20)) == len(in_namespace(records, ns))


@pytest.mark.any_way
def test_filters_on_older_connections(tmp_path):
    """Of a socket that was there before netline the owner is one of those that hold it."""
    with Cgroup() as cgroup, Namespace() as ns, bpf_filesystem(tmp_path) as maps, contextlib.ExitStack() as stack:
        server, client = Puppet(ns, "server"), Puppet(ns, "client", cgroup.enter)
        listener, port = server.listen(4)
        talk = Talk(client, server, listener, "127.0.0.1", port)
        filters = (["--pid", client.pid], ["--cgroup", cgroup.path], ["--cgroupmap", pin_map(maps / "cgroups", cgroup.id)],
                   ["--mntnsmap", pin_map(maps / "mounts", mount_namespace(client.pid))], ["-P", talk.connected.local_port])
        agents = [stack.enter_context(bytes_agent(*args, interval="0.5")) for args in filters]
        talk.move(100, 200)
        talk.finish()
        for agent in agents:
            agent.wait_for(lambda records: any(map(is_closed, in_namespace(records, ns))))
            records = agent.stop()
            found = assert_side(records, client, talk.connected, 100, 200, role="unknown", thread=False)
            assert len(found) == len(in_namespace(records, ns)), agent.args


def refused(*args):
    done = subprocess.run([NETLINE, "tcp_bytes", "--duration", "1", *map(str, args)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode not in (0, -6, -11) and not done.stdout, done
    return done.stderr


@pytest.mark.any_way
@pytest.mark.parametrize("option", ["--cgroupmap", "--mntnsmap"])
def test_maps_that_are_none(option, tmp_path):
    with bpf_filesystem(tmp_path) as maps:
        for path in (maps / "missing", pin_map(maps / "array", kind="array", key_size=4), pin_map(maps / "narrow", key_size=4)):
            assert str(path) in refused(option, path)
    assert str(tmp_path) in refused(option, tmp_path), "a directory"


@pytest.mark.any_way
def test_screen_is_not_cleared_anyway():
    """tcptop's -C: nothing to do, and netline says so."""
    with bytes_agent("-C") as agent:
        agent.stop()
        notices = [line for line in agent.stderr_text.splitlines() if "-C" in line]
    assert len(notices) == 1, agent.stderr_text
