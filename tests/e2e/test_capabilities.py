# SPDX-License-Identifier: BSD-2-Clause
"""
Which capabilities each probe needs by each way: with just these another user gets its records, without any one of them a line that
names it. And what `--user` can still do.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

import harness
from harness import KERNEL, NETLINE, Agent, of_dataset
from inerrs import lab
from test_reload import Config
from test_service import assert_dropped

CANNOT_ATTACH = 3
PROBES = ["nic_throughput", "tcp_connection", "tcp_bytes", "tcp_inerrs", "delay_analysis_in", "delay_analysis_out"]
DELAYS = PROBES[4:]
WAYS = [os.environ["NETLINE_ATTACH"]] if "NETLINE_ATTACH" in os.environ else ["tracepoint", "fentry", "kprobe"]
# Before 5.11 maps count as locked memory, of which that user has little.
BASE = ["bpf", "perfmon", *(["sys_resource"] if KERNEL < (5, 11) else [])]
PARANOID = pathlib.Path("/proc/sys/kernel/perf_event_paranoid")
FEW = ["prlimit", "--memlock=65536"]
# Whose records tell of a connection: its client's, its server's.
TOLD_BY = {"tcp_connection": ["client", "server"], "tcp_bytes": ["client", "server"], "tcp_inerrs": ["server"],
           "delay_analysis_in": ["server"], "delay_analysis_out": ["client"]}
# The second is known by where the kernel drops it, an address that only CAP_SYSLOG shows, or else by what it looks like then.
BAD = {"bad_checksum": {"good": False}, "header_too_short": {"cut": 8}}
TALK = """
import socket, time
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
print(flush=True)
while True:
    client.send(b"x")
    server.recv(1)
    time.sleep(0.05)
"""


def needed(probe, way):
    """What the README says."""
    return [*BASE, *(["net_admin"] if way == "tracepoint" and probe in DELAYS else [])]


@pytest.fixture(name="paranoid")
def sysctl_of_perf_events():
    """Called with a number: above 2, as Debian has it, its kernels refuse perf events, and so kprobes, to all but CAP_SYS_ADMIN."""
    before = PARANOID.read_text(encoding="ascii")
    yield lambda number: PARANOID.write_text(str(number), encoding="ascii")
    PARANOID.write_text(before, encoding="ascii")


@pytest.fixture(name="ways", scope="module")
def ways_of_probes():
    """{way: the probes that have it here}."""
    found = {}
    for way in WAYS:
        listed = json.loads(subprocess.run([NETLINE, "list", "--json", "--attach", way], stdout=subprocess.PIPE, check=True).stdout)
        found[way] = [probe["name"] for probe in listed if "way" in probe]
    return found


@pytest.fixture(name="with_only")
def as_nobody(monkeypatch):
    """Called with capabilities: from now on Agent runs netline as nobody with just these."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        binary, script = shutil.copy(NETLINE, folder), pathlib.Path(folder, "as-nobody")

        def choose(capabilities):
            monkeypatch.setattr(harness, "NETLINE", script)
            these = "=" + ",".join(["-all", *(f"+{name}" for name in capabilities)])
            script.write_text(" ".join(["#!/bin/sh\nexec", *FEW, "setpriv --reuid 65534 --regid 65534 --clear-groups", f"--inh-caps{these}",
                                        f"--ambient-caps{these}", f"--bounding-set{these}", binary, '"$@"\n']), encoding="ascii")
            script.chmod(0o755)

        yield choose


@pytest.fixture(name="config")
def config_of_nobody(tmp_path, monkeypatch):
    monkeypatch.delenv("NETLINE_ATTACH", raising=False)  # the file says it, of each probe
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    return Config(tmp_path / "c.json", user="nobody", probes={"nic_throughput": {"interval": 5}})


def refused(*args):
    """Ends with one line; returns the capabilities that it names, and the line."""
    with Agent(*args, ready=False) as agent:
        assert agent.stop(None, CANNOT_ATTACH) == []
        line, = agent.stderr_text.splitlines()
    assert line.startswith("netline: ")
    return re.findall(r"CAP_(\w+)", line), line


def owners(records, probe, ns, connection):
    """The processes that the records of a connection name."""
    return {r["process"]["pid"] for r in of_dataset(records, probe) if r["netline"].get("socket", {}).get("netns") == str(ns.inum)
            and r.get("source", {}).get("port") == connection.source[1] and "process" in r}


def packets_of(records, ns):
    return sum(r["network"]["packets"] for r in of_dataset(records, "nic_throughput") if r["netline"]["nic"]["netns"] == str(ns.inum))


def is_told(records, probe, there, connection):
    if probe == "nic_throughput":
        return packets_of(records, there.there) > 0
    wanted = {getattr(there, side).pid for side in TOLD_BY[probe]}
    return owners(records, probe, there.there, connection) >= wanted


def use(there, connection):
    """Something for every probe."""
    there.client.order("transfer", connection.connected.socket, 1, 0)
    there.server.must("transfer", connection.accepted.fd, 0, 1)
    there.client.answer()
    for bad in BAD.values():
        connection.send(**bad)


def wait_until_told(agent, probe, there, connection, begin=0):
    """By records after the first `begin`."""
    agent.wait_for(lambda records: is_told(records[begin:], probe, there, connection), harness.START_LIMIT)
    if probe == "tcp_inerrs":
        agent.wait_for(lambda records: [r["event"]["reason"] for r in of_dataset(records[begin:], probe)
                                        if r.get("source", {}).get("port") == connection.source[1]] == list(BAD))


@pytest.mark.parametrize("probe", PROBES)
def test_what_is_needed_is_enough(probe, ways, with_only, paranoid):
    """And nothing of it can be left out."""
    paranoid(2)
    for way in (way for way in ways if probe in ways[way]):
        args = ["--attach", way, "--interval", "0.1", probe]
        with lab() as there:
            with_only(needed(probe, way))
            with Agent(*args, ns=there.there) as agent:
                connection = there.connect()
                use(there, connection)
                wait_until_told(agent, probe, there, connection)
                agent.stop()
        for missing in needed(probe, way):
            with_only([name for name in needed(probe, way) if name != missing])
            names, line = refused(*args)
            assert names == [missing.upper()], line


def test_sys_admin_stands_for_others(ways, with_only):
    """For kprobes that are refused to others, too."""
    with_only(["sys_admin", *BASE[2:]])
    way = [way for way in ways if ways[way]][-1]
    with Agent("--attach", way, *ways[way]) as agent:
        agent.stop()


def test_kprobes_are_refused(ways, with_only, config):
    """Also to who was root, when the file is read again."""
    probes = ways.get("kprobe", [])
    if not probes or int(PARANOID.read_text(encoding="ascii")) <= 2:
        pytest.skip("no kprobes, or none that are refused")
    with config.agent() as agent:
        message = config.reload(agent, user="nobody", probes={probes[0]: {"attach": "kprobe"}})
        assert "CAP_SYS_ADMIN or sysctl kernel.perf_event_paranoid=2" in message and "nothing is changed" in message
        agent.stop()
    with_only(BASE)
    names, line = refused("--attach", "kprobe", probes[0])
    assert names == ["SYS_ADMIN"], line


# --- --netns all ---

@pytest.fixture(name="nameless")
def namespace_without_name():
    """Of a process of root's, in which packets flow: only /proc leads to it."""
    with subprocess.Popen(["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-c", TALK], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        yield str(os.stat(f"/proc/{process.pid}/ns/net").st_ino)
        process.kill()


def seen_in(inum, probe):
    return lambda records: any(r["netline"]["socket"]["netns"] == inum for r in of_dataset(records, probe))


def needs_netfilter(ways):
    if "delay_analysis_in" not in ways.get("tracepoint", []):
        pytest.skip("no netfilter programs here: other ways see all namespaces")


def test_all_namespaces(ways, with_only, nameless):
    """Netfilter programs are attached in each, which takes the capabilities to enter it, and to look for it."""
    needs_netfilter(ways)
    args = ["--attach", "tracepoint", "--netns", "all", "delay_analysis_in"]
    with lab() as there:
        with_only([*BASE, "net_admin", "sys_ptrace"])
        names, line = refused(*args)
        assert names == ["SYS_ADMIN"], line
        for more in ([], ["sys_ptrace"]):
            with_only([*BASE, "net_admin", "sys_admin", *more])
            with Agent(*args) as agent:
                connection = there.connect()
                use(there, connection)
                wait_until_told(agent, "delay_analysis_in", there, connection)
                if more:
                    agent.wait_for(seen_in(nameless, "delay_analysis_in"))
                assert more or "no permission to see the network namespace of process" in agent.stderr_text
                records = agent.stop()
            assert bool(more) == seen_in(nameless, "delay_analysis_in")(records)


def test_other_ways_see_all_namespaces(ways, nameless):
    """Also as another user: nothing is attached in them."""
    for way, probe in ((way, probe) for way in ways for probe in DELAYS if way != "tracepoint" and probe in ways[way]):
        with Agent("--user", "nobody", "--netns", "all", "--attach", way, probe) as agent:
            agent.wait_for(seen_in(nameless, probe))
            agent.stop()


# --- --user ---

def test_reload_as_user(config, ways, paranoid):
    """Each probe attaches by each way that it has, and knows the owners of sockets that were there before."""
    paranoid(2)
    with lab() as there, config.agent(ns=there.there) as agent:
        before = there.connect()
        for way, probe in ((way, probe) for way in ways for probe in ways[way]):
            message = config.reload(agent, user="nobody", probes={probe: {"attach": way, "interval": 0.1}})
            assert "cannot attach" not in message and "nothing is changed" not in message, message
            begin, connection = len(agent.records()), there.connect() if probe == "tcp_connection" else before
            use(there, connection)
            wait_until_told(agent, probe, there, connection, begin)
        assert_dropped(agent.pid)
        agent.stop()


def test_all_namespaces_as_user(config, ways):
    """Refused, at the start and when the file is read again: that user could not enter those that come later, nor find those that are there."""
    needs_netfilter(ways)
    names, line = refused("--user", "nobody", "--attach", "tracepoint", "--netns", "all", "delay_analysis_in")
    assert names == ["SYS_ADMIN"] and "--user" in line
    with config.agent() as agent:
        message = config.reload(agent, user="nobody", probes={"delay_analysis_in": {"attach": "tracepoint", "netns": "all"}})
        assert "CAP_SYS_ADMIN" in message and "nothing is changed" in message
        agent.stop()
