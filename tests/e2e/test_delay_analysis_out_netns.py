# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_out: of its own network namespace only, or of all, of those that come later as well."""
import contextlib
import os
import pathlib

from delays import TcpCounters
from delays_out import IPS, Lo, assert_same, has_all, in_namespace, of_packets, on_one_cpu, out_agent, told_of
from harness import assert_loss_equation, of_dataset, wait_until
from inerrs import connected_pair

PORT = 1801
TURNS = ((100, 200), (3, 20_000))


def talk_and_compare(agent, lab):
    """Traffic that is told exactly, and is told to be of this namespace."""
    counted = TcpCounters(lab.ns, PORT)
    for ip in IPS[:2]:
        lab.talk(ip, TURNS, PORT)
    lab.all_packets()
    n = counted.sent[0]
    agent.wait_for(lambda records: has_all(records, of_port(records, lab.ns), n), 20)


def of_port(records, ns):
    return [r for r in in_namespace(records, ns) if PORT in (r["source"]["port"], r["destination"]["port"])]


def assert_told(records, lab):
    packets = [p for p in lab.capture.packets() if PORT in (p.sport, p.dport)]
    assert packets
    assert_same(records, map(told_of, of_port(records, lab.ns)), of_packets(packets))


def send_until_told(agent, lab):
    """netline looks for new namespaces now and then."""
    def told():
        client.send(b"x")
        server.recv(1)
        return in_namespace(agent.records(), lab.ns)

    with on_one_cpu(), contextlib.ExitStack() as stack:
        client, server = map(stack.enter_context, connected_pair(lab.ns, lab.ns, "127.0.0.1"))
        wait_until(told, 20, f"a packet of {lab.ns.name}")


def is_held(agent, inode):
    """Whether netline has the namespace open."""
    for path in pathlib.Path(f"/proc/{agent.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == inode:
                return True
    return False


def test_all_namespaces(tmp_path):
    """The own one, one that is there when netline starts, and one that is made later; which is let go when it has ended."""
    with contextlib.ExitStack() as stack:
        own, before = Lo(stack, tmp_path), Lo(stack, tmp_path)
        agent = stack.enter_context(out_agent("--netns", "all", ns=own.ns))
        talk_and_compare(agent, own)
        talk_and_compare(agent, before)
        with contextlib.ExitStack() as short:
            after = Lo(short, tmp_path)
            inode = after.ns.inum
            send_until_told(agent, after)
            talk_and_compare(agent, after)
            packets = [p for p in after.capture.packets() if PORT in (p.sport, p.dport)]
        wait_until(lambda: not is_held(agent, inode), 20, "the namespace to be let go")
        records = agent.stop()
        for lab in (own, before):
            assert_told(records, lab)
        late = [r for r in of_dataset(records, "delay_analysis_out") if r["netline"]["socket"]["netns"] == str(inode)
                and PORT in (r["source"]["port"], r["destination"]["port"])]
        assert_same(records, map(told_of, late), of_packets(packets))


def test_own_namespace(tmp_path):
    """What others send counts as nothing."""
    with contextlib.ExitStack() as stack:
        own, other = Lo(stack, tmp_path), Lo(stack, tmp_path)
        agent = stack.enter_context(out_agent(ns=own.ns))
        for ip in IPS:
            other.talk(ip, TURNS, PORT)
        talk_and_compare(agent, own)
        records = agent.stop()
        assert_told(records, own)
        assert {r["netline"]["socket"]["netns"] for r in of_dataset(records, "delay_analysis_out")} == {str(own.ns.inum)}
        counted = assert_loss_equation(records, "delay_analysis_out")
        assert counted["produced"] == own.counters.sent[0] or counted["lost"]
