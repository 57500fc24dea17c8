# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_out: a record for each packet that is sent, against tcpdump, netfilter's counters and what tbf does."""
import threading
import time

import pytest

from connections import assert_owner
from delays import Drop, TcpCounters, by_time_wait
from delays_out import (IPS, PROBE, TURNS, assert_complete, assert_packets, assert_same, in_namespace, loopback, of_packets, out_agent, told_of)
from harness import PREEMPTS_TRACEPOINTS, of_dataset, parse_lines, wait_until
from inerrs import connected_pair
from segments import counters
from transfers import Talk

PORT = 1801


def assert_owners(found, lab, ports, packets):
    """
    The SYN-ACK is of no process: there is no socket yet that one could have, and in TIME_WAIT there is none any more. (Where programs are
    skipped, a socket's owner may be missed.)
    """
    late = {(*p.flow, p.seq, p.ack) for p, time_wait in zip(packets, by_time_wait(packets, lab.late)) if time_wait}
    assert late
    for record in found:
        puppet = lab.server if record["source"]["port"] in ports else lab.client
        if (puppet is lab.server and "SYN" in record["netline"]["tcp"]["flags"]) or told_of(record)[:6] in late:
            assert "process" not in record
        elif "process" in record or not PREEMPTS_TRACEPOINTS:
            assert_owner(record, puppet.pid, puppet.name)


@pytest.mark.parametrize("ip", IPS)
def test_each_packet(ip, tmp_path):
    """One record for each skb, with its owner, and its stages; the segments are those that the kernel counts, what it sends again apart."""
    with loopback(tmp_path) as lab, out_agent(ns=lab.ns) as agent:
        start, before = time.time_ns(), counters(lab.ns)
        talks = [lab.talk(ip), lab.talk(ip, TURNS[:1], late=True)]
        packets = lab.all_packets()
        end, after = time.time_ns(), counters(lab.ns)
        found, records = lab.finish(agent)
        counted = assert_same(records, map(told_of, found), of_packets(packets, found))
        assert counted["filtered"] == 0 and (counted["produced"] == lab.counters.sent[0] or counted["lost"])
        assert_packets(found, start, end, "lo")
        assert_complete(found)
        assert_owners(found, lab, [talk.connected.remote_port for talk in talks], packets)
        sent = sum(after[name] - before[name] for name in ("OutSegs", "RetransSegs"))
        assert sum(r["netline"]["packet"]["segments"] for r in found) == sent or (PREEMPTS_TRACEPOINTS and counted["lost"])
        assert not any("nat" in r[side] for r in found for side in ("source", "destination"))
        assert {r["netline"]["sample_rate"] for r in found} == {1}
        probe = of_dataset(records, "agent_probe")[0]["netline"]["probe"]
        assert probe["name"] == PROBE and {r["netline"]["delay"]["hooks"] for r in found} == {probe["way"]}


@pytest.mark.parametrize("ip", IPS[:2])
def test_dropped_on_the_way_out(ip, tmp_path):
    """What netfilter drops never leaves: there is no record of it, and it counts as nothing. What is sent again later has one."""
    with loopback(tmp_path) as lab, out_agent(ns=lab.ns) as agent:
        listener, port = lab.server.listen(6)
        talk = Talk(lab.client, lab.server, listener, ip, port).move(10, 10)
        drop = Drop(lab.ns, "output", f"tcp dport {port}")
        lab.client.order("transfer", talk.connected.socket, 1000, 0)
        assert lab.client.answer().sent == 1000
        drop.wait_for(2)
        drop.end()
        assert lab.server.must("transfer", talk.accepted.fd, 0, 1000).received == 1000
        talk.finish()
        packets = lab.all_packets()
        found, records = lab.finish(agent)
        # of the first data that arrives the capture cannot know that it was sent before
        counted = assert_same(records, [told[:-1] for told in map(told_of, found)], [packet[:-1] for packet in of_packets(packets, found)])
        assert counted["filtered"] == 0 and (counted["produced"] == lab.counters.sent[0] or counted["lost"])


@pytest.mark.any_way
def test_own_output_is_not_told(tmp_path):
    """netline writes to a TCP connection: each packet of it would make another one."""
    with loopback(tmp_path) as lab, OutputConnection(lab.ns) as output:
        counted = TcpCounters(lab.ns, PORT)
        with out_agent(ns=lab.ns, stdout=output.socket) as agent:
            for ip in IPS:
                lab.talk(ip, port=PORT)
            wait_until(lambda: not others_than(lab.ns, output.ports), 20, "the ends of the connections")
            n, seen = counted.sent[0], counted.received[0]
            wait_until(lambda: output.count(PROBE) >= n, 20, lambda: f"{n} records from the connection: there are {output.count(PROBE)}")
            packets = wait_until(lambda: len(found := packets_of(lab.capture)) >= seen and found, 20, f"{seen} captured packets")
            agent.stop()
        records = output.records()
        found = in_namespace(records, lab.ns)
        told = assert_same(records, map(told_of, found), of_packets(packets, found))
        assert len(packets) < len(lab.capture.packets()), "netline has written over loopback"
        assert told["produced"] == n and told["filtered"] == 0, "its own packets are none of the probe's"


def packets_of(capture):
    return [p for p in capture.packets() if PORT in (p.sport, p.dport)]


def others_than(ns, ports):
    """The open connections without this one."""
    lines = ns.run(["ss", "-tnH", "state", "connected", "exclude", "time-wait"]).stdout.splitlines()
    return [line for line in lines if not all(f":{port} " in f"{line} " for port in ports)]


class OutputConnection:
    """A TCP connection on loopback: netline's stdout, and what comes out at its other end."""

    def __init__(self, ns):
        self.socket, self._other = connected_pair(ns, ns, "127.0.0.1")
        self.ports = self.socket.getsockname()[1], self._other.getsockname()[1]
        self._data = bytearray()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.socket.close()
        self._thread.join()
        self._other.close()

    def _read(self):
        while chunk := self._other.recv(65536):
            self._data += chunk

    def count(self, probe):
        return bytes(self._data).count(f'"dataset":"netline.{probe}"'.encode())

    def records(self):
        """All, when netline has ended."""
        self.socket.close()
        self._thread.join()
        return parse_lines(bytes(self._data))
