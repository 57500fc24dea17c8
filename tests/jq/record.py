#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Makes recorded.jsonl, on which test_oneliners.py runs the one-liners: real records of real traffic between two namespaces (as root).

To be run when the records' shape has changed. Of the second run, which has a loss of netline's own, a few lines are left
out: as of a shipper that has lost them.
"""
import contextlib
import json
import os
import pathlib
import re
import signal
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from cgroups import Cgroup  # noqa: E402
from connections import link_to_nowhere  # noqa: E402
from delays import Drop  # noqa: E402
from harness import Agent, Namespace, of_dataset, veth  # noqa: E402
from puppet import Puppet  # noqa: E402
from segments import ACK, FIN, PSH, RST, SYN, Connection, Sender, in_namespace_of, tcp  # noqa: E402
from transfers import Talk  # noqa: E402

WEB, JOBS = "3f1c" * 16, "a07e" * 16  # ids of containers
SERVER, CLIENT = ("10.0.0.5", "fd00::5"), ("10.0.0.9", "fd00::9")
LOST_BY_SHIPPER = slice(20, 25)


class Stage:
    """A server in a container, and two clients on the other end of a link: one in a container."""

    def __init__(self, stack):
        self.group, self.there, self.here = (stack.enter_context(make()) for make in (Cgroup, Namespace, Namespace))
        veth(self.there, self.here, ip4=(SERVER[0], CLIENT[0]), ip6=(SERVER[1], CLIENT[1]))
        link_to_nowhere(self.here)
        self.here.sysctl("net.ipv4.tcp_syn_retries", 1)
        enter = [self.group.add(f"docker-{id_}.scope") for id_ in (WEB, JOBS)]
        self.web = Puppet(self.there, "web", enter=enter[0])
        self.jobs = Puppet(self.here, "jobs", enter=enter[1])
        self.shop = Puppet(self.here, "shop", enter=self.group.enter_child)
        self.sender = stack.enter_context(Sender(self.here))
        self.listeners = {port: self.web.listen(6, port)[0] for port in (443, 8080)}

    def config(self, path, **probes):
        path.write_text(json.dumps({"probes": probes}))
        return path

    def talk(self, client, ip, port, up, down, times=1):
        talk = Talk(client, self.web, self.listeners[port], ip, port)
        for _ in range(times):
            talk.move(up, down)
        talk.finish()


def failures(stage):
    for _ in range(3):
        assert stage.shop.connect(SERVER[0], 5432).errno == "ECONNREFUSED"
    assert stage.jobs.connect(SERVER[1], 5432).errno == "ECONNREFUSED"
    assert stage.jobs.connect("10.78.0.3", 443).errno == "EHOSTUNREACH"
    assert stage.shop.connect("10.78.0.2", 443).errno == "ETIMEDOUT"


def waits(stage):
    """Connections that wait in the accept queue, of which two are closed there."""
    connected = [stage.shop.connect(SERVER[0], 8080) for _ in range(6)]
    closed = [stage.jobs.connect(SERVER[0], 8080) for _ in range(2)]
    for each in closed:
        stage.jobs.must("linger0", each.socket)
        stage.jobs.close(each.socket)
    for each in connected:
        stage.talk(stage.jobs, SERVER[0], 443, 100, 2000)
        accepted = stage.web.accept(stage.listeners[8080])
        stage.shop.close(each.socket)
        stage.web.must("transfer", accepted.fd, 0, "end")
        stage.web.close(accepted.fd)
    for _ in closed:
        stage.web.close(stage.web.accept(stage.listeners[8080]).fd)


def bad_packets(stage):
    connection = Connection(stage.sender, stage.web, stage.shop, SERVER[0], listener=(stage.listeners[443], 443))
    for _ in range(5):
        connection.send(flags=ACK | PSH, payload=b"x", good=False)
    for _ in range(40):
        connection.send(1 << 24, flags=ACK | PSH, payload=b"x")
    connection.send(10, flags=RST)
    connection.send(flags=ACK | PSH, payload=b"x", late=True)
    connection.send(10, flags=SYN)
    for port in (4001, 4002):
        stage.sender.send(CLIENT[0], SERVER[0], tcp(CLIENT[0], SERVER[0], (port, 443), 7, 0, FIN))
    stage.shop.close(connection.connected.socket)
    stage.web.must("transfer", connection.accepted.fd, 0, "end")
    stage.web.close(connection.accepted.fd)


def long_lived(stage, agent):
    """Lasts longer than an interval."""
    talk = Talk(stage.jobs, stage.web, stage.listeners[8080], SERVER[0], 8080)
    for n in (1, 2):
        talk.move(50_000 * n, 1000)
        agent.wait_for(lambda records: len([r for r in of_dataset(records, "tcp_bytes") if r["netline"]["connection"] == "open"]) >= 2 * n)
    talk.finish()


def sent_again(stage):
    talk = Talk(stage.shop, stage.web, stage.listeners[443], SERVER[1], 443).move(500, 20_000)
    drop = Drop(stage.there, "input", "tcp dport 443")
    stage.shop.must("transfer", talk.connected.socket, 30_000, 0)
    drop.wait_for(3)
    drop.end()
    assert stage.web.must("transfer", talk.accepted.fd, 0, 30_000).received == 30_000
    talk.finish()


@contextlib.contextmanager
def agent_of(stage, *args):
    """In the server's namespace, but not by `ip netns exec`, which hides the folders of cgroups."""
    agent = Agent("-o", "stdout,agent=yes", "--host", "web-01", *args)
    try:
        in_namespace_of(stage.there, agent.__enter__)
        yield agent
    finally:
        agent.__exit__()


def ordinary(stage, path):
    """All probes; what they tell is of this stage alone, whatever else is on the machine."""
    cgroup = {"cgroup": str(stage.group.id)}
    config = stage.config(path / "all.json", nic_throughput={"nic": ["eth0"]}, tcp_connection=cgroup, tcp_bytes=cgroup,
                          tcp_inerrs={"port": [443, 5432]}, delay_analysis_in={"port": [443], "sample": 2}, delay_analysis_out={"port": [443], "sample": 2})
    with agent_of(stage, "--config", config) as agent:
        stage.talk(stage.shop, SERVER[0], 443, 300, 120_000, 2)
        stage.talk(stage.jobs, SERVER[1], 443, 4000, 500)
        waits(stage)
        bad_packets(stage)
        long_lived(stage, agent)
        sent_again(stage)
        failures(stage)
        return agent, agent.stop()


def with_losses(stage, path):
    """A ring so small that it is full while netline does not run; and summaries."""
    cgroup = {"cgroup": str(stage.group.id), "ring-size": "4096"}
    config = stage.config(path / "loss.json", tcp_connection=cgroup, delay_analysis_in={"summary": True, "port": [443]}, delay_analysis_out={"summary": True, "port": [443]})
    with agent_of(stage, "--interval", "0.5", "--config", config) as agent:
        for _ in range(4):
            stage.talk(stage.shop, SERVER[0], 443, 100, 5000)
        os.kill(agent.pid, signal.SIGSTOP)
        for _ in range(40):
            stage.talk(stage.shop, SERVER[0], 443, 100, 5000)
        os.kill(agent.pid, signal.SIGCONT)
        agent.wait_for(lambda records: of_dataset(records, "agent_lost"))
        stage.talk(stage.jobs, SERVER[1], 443, 100, 5000)
        return agent, agent.stop()


def main():
    with contextlib.ExitStack() as stack:
        path = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = Stage(stack)
        runs = [run(stage, path) for run in (ordinary, with_losses)]
        own = {str(ns.inum) for ns in (stage.there, stage.here)}
    lines = [bytes(agent._data).decode().splitlines(True) for agent, _ in runs]
    for _, records in runs:
        for record in records:
            told = record["netline"]
            netns = told.get("socket", told.get("nic", {})).get("netns")
            assert netns in own | {None}, f"not of this stage: {record}"
    del lines[1][LOST_BY_SHIPPER]
    release = os.uname().release
    text = "".join(lines[0] + lines[1]).replace(release, re.match(r"[\d.]+", release)[0])  # whoever built it
    (HERE / "recorded.jsonl").write_text(text)


if __name__ == "__main__":
    main()
