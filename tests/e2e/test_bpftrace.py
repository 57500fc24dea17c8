# SPDX-License-Identifier: BSD-2-Clause
"""contrib/bpftrace: the scripts count the same traffic as netline at the same time, and so much is the same."""
import collections
import contextlib
import functools
import json
import pathlib
import re
import shutil
import subprocess
import time

import pytest

from connections import in_namespace, link_to_nowhere
from delays import Drop
from harness import KERNEL, ROOT, SCALE, Agent, Namespace, of_dataset
from inerrs import TELLS_REASON, count_of, inerrs_agent, lab, wait_for_count
from inerrs import in_namespace as inerrs_in
from puppet import Puppet
from segments import ACK, FIN, PSH, RST, SYN, tcp
from test_nic_throughput import Datagrams, Sum, offloads, of_nic, silent_pair, summed
from transfers import Talk, bytes_agent, wait_for_ends
from transfers import in_namespace as bytes_in

pytestmark = pytest.mark.any_kernel
FOLDER = ROOT / "contrib/bpftrace"
TRIVIAL = "tracepoint:sock:inet_sock_set_state { @[((struct sock *)args->skaddr)->__sk_common.skc_num] = count(); }"
SEGMENTS = 46  # at most, in one skb of 64 KiB
WAIT = 0.05  # s in the accept queue
NEAR = 5_000_000  # ns between two programs on one hook, on a busy machine


def with_tracefs(*argv):
    """A command that sees tracefs, in a mount namespace of its own: the machine's mounts stay as they are."""
    script = 'test -e /sys/kernel/tracing/events || mount -t tracefs tracefs /sys/kernel/tracing && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *map(str, argv)]


@functools.lru_cache(maxsize=None)
def why_not():
    """Why bpftrace cannot run here, if so."""
    if not shutil.which("bpftrace"):
        return "bpftrace is not installed"
    done = subprocess.run(with_tracefs("bpftrace", "-e", TRIVIAL, "-c", "/bin/true"), capture_output=True, text=True, timeout=30 * SCALE, check=False)
    return done.returncode and f"bpftrace does not run here: {done.stderr.strip()}"


class Script:
    """A running script; it is attached when this has been entered, and what it has counted is in `maps` after finish()."""

    def __init__(self, name, ns):
        self._argv = with_tracefs("bpftrace", "-B", "none", "-f", "json", "-c", "/bin/cat", FOLDER / f"{name}.bt", ns.inum)
        self.maps = collections.defaultdict(dict)

    def __enter__(self):
        """The command is started when all is attached, and says so by its echo; the script ends with it."""
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._process.stdin.write("attached\n")
        self._process.stdin.flush()
        return self

    def wait(self):
        while "attached\n" != (line := self._process.stdout.readline()):
            assert line, f"{self._argv[-2]} has ended: {self._process.communicate()[1]}"

    def missed(self):
        """
        Runs that the kernel has skipped until now: a program of a tracepoint is not run where a softirq comes into the middle of another one. Since 6.7
        (dd8657894c11) it counts them.
        """
        found = 0
        for path in pathlib.Path(f"/proc/{self._process.pid}/fdinfo").iterdir():
            found += sum(map(int, re.findall(r"^recursion_misses:\s*(\d+)", path.read_text(encoding="ascii"), re.M)))
        return found

    def finish(self):
        out, err = self._process.communicate(timeout=20 * SCALE)
        assert self._process.returncode == 0, err
        for record in map(json.loads, filter(str.strip, out.splitlines())):
            if record["type"] in ("map", "stats"):
                self.maps.update({name.removeprefix("@"): value for name, value in record["data"].items()})

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@contextlib.contextmanager
def scripts(ns, *names):
    if why_not():
        pytest.skip(why_not())
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(Script(name, ns)) for name in names]
        for script in started:
            script.wait()
        yield started


def finish(started):
    for script in started:
        script.finish()
    return [script.maps for script in started]


def test_all_are_here():
    """Each script has its test below and its row in the README."""
    names = {path.stem for path in FOLDER.glob("*.bt")}
    assert names == {"accept_wait", "connections", "drops", "handshakes", "kprobe_accept_wait", "kprobe_payload", "nic", "payload", "retransmits"}
    assert names == set(re.findall(r"^\| `(\w+)\.bt`", (FOLDER / "README.md").read_text(encoding="utf-8"), re.M))


@functools.lru_cache(maxsize=None)
def has_kprobes():
    return not subprocess.run(with_tracefs("test", "-e", "/sys/kernel/tracing/kprobe_events"), check=False).returncode


def per_port(records):
    return {str(port): n for port, n in collections.Counter(r["destination"]["port"] for r in records).items()}


def test_connections():
    """Connects that wait for their outcome or not, that fail, or are refused at once; accepts of what waits, and of what was closed before."""
    names = ["connections", "handshakes", "accept_wait", *(["kprobe_accept_wait"] if has_kprobes() else [])]
    with Namespace() as ns:
        link_to_nowhere(ns)
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        with Agent("tcp_connection") as agent, scripts(ns, *names) as started:
            for ip in ("127.0.0.1", "::1", "127.0.0.1"):
                assert client.connect(ip, port).result == 0
            begun = client.socket(4, nonblock=True)
            assert client.connect("127.0.0.1", port, fd=begun).errno == "EINPROGRESS"
            client.must("writable", begun)
            time.sleep(WAIT)
            for _ in range(4):
                server.accept(listener)
            closed = client.connect("127.0.0.1", port)
            client.must("linger0", closed.socket)
            client.close(closed.socket)
            server.accept(listener)
            assert [client.connect("127.0.0.1", 1).errno for _ in range(3)] == ["ECONNREFUSED"] * 3
            assert client.connect("10.78.0.3", 2).errno == "EHOSTUNREACH"
            assert client.connect("192.0.2.1", 3).errno == "ENETUNREACH"
            agent.wait_for(lambda records: len(in_namespace(records, ns)) == 14)
            calls, states, *waits = finish(started)
            records = in_namespace(agent.stop(), ns)
    connects, accepts = ([r for r in records if r["event"]["action"] == f"tcp-{action}"] for action in ("connect", "accept"))
    reasons = collections.Counter(r["event"].get("reason") for r in connects)
    assert calls["connects"] == {f"{client.pid},0": reasons[None] - 1, f"{client.pid},115": 1, f"{client.pid},111": reasons["econnrefused"],
                                 f"{client.pid},113": reasons["ehostunreach"], f"{client.pid},101": 1}
    accepted = [r for r in accepts if r["netline"]["accept"]["state"] == "accepted"]
    assert calls["accepts"] == {str(server.pid): len(accepted) + 1} and len(accepts) == len(accepted) + 1
    assert states["connected"] == per_port(r for r in connects if r["event"]["outcome"] == "success")
    assert states["failed"] == per_port(r for r in connects if r["event"]["outcome"] == "failure")
    assert states["established"] == per_port(accepts)
    own = [r["netline"]["accept"]["wait_ns"] for r in accepted]
    assert len(own) == 4 and min(own) >= WAIT * 1e9
    for maps in waits:
        told = maps["wait_ns"][str(port)]
        assert told["count"] == len(own) and abs(told["total"] - sum(own)) < len(own) * NEAR


def test_wire():
    """Segments that the sender's NIC is to cut, packets that GRO merges, datagrams, and data that is sent again; the wire is silent otherwise."""
    with silent_pair() as (a, b), Datagrams(a, b) as datagrams:
        offloads(a, tso="off", gso="off")
        offloads(b, gro="on")
        server, client = Puppet(b, "server"), Puppet(a, "client")
        listener, port = server.listen(6)
        with Agent("-i", "0.1", "nic_throughput", "tcp_bytes", "delay_analysis_out", ns=a) as agent, scripts(a, "retransmits") as of_client, \
                scripts(b, "nic") as of_server:
            talks = [Talk(client, server, listener, ip, port).move(300_000, 1_000_000) for ip in ("10.77.0.2", "fd77::2")]
            datagrams.send(700, 20)
            datagrams.send_segmented(8000, 500, 5)
            drop = Drop(b, "input", f"tcp dport {port}")
            client.must("transfer", talks[0].connected.socket, 40_000, 0)
            drop.wait_for(3)
            drop.end()
            server.must("transfer", talks[0].accepted.fd, 0, 40_000)
            for talk in talks:
                talk.finish()
            wait_for_ends(agent, *talks)
            missed = of_server[0].missed()
            (again,), (nic,) = finish(of_client), finish(of_server)
            records = agent.stop()
        assert again["bytes"] == {str(port): sum(r["netline"]["bytes"]["retransmitted"] for r in bytes_in(records, a))} and again["bytes"][str(port)] > 0
        assert again["skbs"] == per_port(r for r in of_dataset(records, "delay_analysis_out") if r["netline"]["packet"]["retransmitted"])
        for direction in ("egress", "ingress"):
            told, counted = summed(of_nic(records, b, "eth0", direction)), sums_by_direction(nic, direction)
            assert told.packets > told.skbs and (direction == "egress" or counted.skbs > told.skbs)
            few = missed * SEGMENTS if KERNEL >= (6, 7) else told.packets / 100
            assert (counted[:2] == told[:2] and (direction == "ingress" or counted.skbs == told.skbs)) or 0 < told.packets - counted.packets <= few, missed


def sums_by_direction(nic, direction):
    """Of eth0."""
    return Sum(*(sum(n for key, n in nic[name].items() if key.startswith("eth0,") and key.endswith("net_dev_start_xmit") == (direction == "egress"))
                 for name in Sum._fields))


@pytest.mark.parametrize("name", ["payload", "kprobe_payload"])
def test_payload(name):
    """Of two connections, both ways."""
    if name == "payload" and KERNEL < (6, 3):
        pytest.skip("the kernel has no tracepoint sock_send_length")
    if name == "kprobe_payload" and not has_kprobes():
        pytest.skip("the kernel has no kprobes")
    with Namespace() as ns, bytes_agent() as agent, scripts(ns, name) as started:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        talks = [Talk(client, server, listener, ip, port).move(1_000_000, 50_000).move(1, 0) for ip in ("127.0.0.1", "::1")]
        for talk in talks:
            talk.finish()
        wait_for_ends(agent, *talks)
        (maps,) = finish(started)
        records = agent.stop()
        for way in ("sent", "received"):
            told = {str(puppet.pid): sum(r["netline"]["bytes"][way] for r in bytes_in(records, ns) if r["process"]["pid"] == puppet.pid) for puppet in (client, server)}
            assert maps[way] == told and sum(told.values()) == 2 * 1_050_001


def reason_numbers():
    """{name: the kernel's number}, as the header of drops.bt says."""
    done = subprocess.run(with_tracefs("cat", "/sys/kernel/tracing/events/skb/kfree_skb/format"), capture_output=True, text=True, check=True)
    return {name: number for number, name in re.findall(r'\{ (\d+), "([A-Z_0-9]+)" \}', done.stdout)}


def test_drops():
    """Bad packets of many reasons, some more than once."""
    if not TELLS_REASON:
        pytest.skip("the kernel tells no reasons")
    with lab("10.77.0.2", True) as there, inerrs_agent() as agent, scripts(there.there, "drops") as started:
        connection = there.connect()
        sent = [{"payload": b"x", "good": False}] * 4 + [{"seq": 1 << 24, "flags": ACK | PSH, "payload": b"x"}] * 30 + [
            {"flags": ACK | PSH, "payload": b"x", "late": True}, {"seq": 10, "flags": SYN}, {"seq": 10, "flags": RST}, {"ack": 1000}, {"flags": PSH, "payload": b"x"}]
        for segment in sent:
            connection.send(**segment)
        for port in (4001, 4002):
            there.sender.send(there.source, there.ip, tcp(there.source, there.ip, (port, 1), 7, 0, FIN))
        found = wait_for_count(agent, there.there, len(sent) + 2)
        (drops,) = finish(started)
        found = inerrs_in(agent.stop(), there.there)
    numbers = reason_numbers()
    told = collections.Counter()
    for record in found:
        told[numbers[record["netline"]["inerr"]["kernel_reason"]]] += record["netline"]["inerr"]["count"]
    assert len(told) == 8 and {number: drops["dropped"].get(number) for number in told} == told
    assert drops["bad_checksum"] == count_of(r for r in found if r["event"]["reason"] == "bad_checksum") == 4
