# SPDX-License-Identifier: BSD-2-Clause
"""What is added to records: the container of a socket's cgroup, and the Community ID of its flow."""
import base64
import hashlib
import ipaddress
import struct

import pytest

from cgroups import Cgroup
from harness import Agent, Namespace, of_dataset
from puppet import Puppet

ID, OTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4


def connect_from(ns, enter):
    """A connection of a process that enters a cgroup first; its local port."""
    server, client = Puppet(ns, "server"), Puppet(ns, "client", enter=enter)
    listener, port = server.listen()
    answer = client.connect("127.0.0.1", port)
    server.accept(listener)
    return answer.local_port


def record_of(agent, port):
    return agent.wait_for(lambda records: [r for r in of_dataset(records, "tcp_connection") if r["source"]["port"] == port and r["netline"]["role"] == "client"])[0]


def test_container():
    """Of cgroups that were there before netline, and of those that came later."""
    with Cgroup() as group, Namespace() as ns:
        old = group.add(f"docker-{ID}.scope")
        with Agent("tcp_connection") as agent:
            assert record_of(agent, connect_from(ns, old))["container"] == {"id": ID}
            assert record_of(agent, connect_from(ns, group.add(f"libpod-{OTHER}.scope")))["container"] == {"id": OTHER}
            assert record_of(agent, connect_from(ns, group.add(f"docker-{ID}.scope/init.scope")))["container"] == {"id": ID}
            assert "container" not in record_of(agent, connect_from(ns, group.add("plain.service")))
            assert "container" not in record_of(agent, connect_from(ns, group.add(f"crio-conmon-{OTHER}.scope")))
            assert record_of(agent, connect_from(ns, old))["container"] == {"id": ID}
            agent.stop()


def community_id(record):
    """As its specification has it."""
    ends = sorted((ipaddress.ip_address(record[side]["ip"]).packed, record[side]["port"]) for side in ("source", "destination"))
    text = b"\0\0" + ends[0][0] + ends[1][0] + b"\x06\0" + struct.pack(">HH", ends[0][1], ends[1][1])
    return "1:" + base64.b64encode(hashlib.sha1(text).digest()).decode()


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_community_id(ip):
    """The same in all records of a connection, whoever tells of it; without the option there is none."""
    with Namespace() as ns, Agent("--community-id", "-i", "0.1", "tcp_connection", "tcp_bytes", "delay_analysis_in", "delay_analysis_out", "--netns", "all") as agent, \
            Agent("tcp_connection") as without:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        answer = client.connect(ip, port)
        accepted = server.accept(listener)
        client.must("transfer", answer.socket, 100, 0)
        server.must("transfer", accepted.fd, 0, 100)
        datasets = {"tcp_connection", "tcp_bytes", "delay_analysis_in", "delay_analysis_out"}

        def own(records):
            return [r for r in records if {r.get("source", {}).get("port"), r.get("destination", {}).get("port")} == {port, answer.local_port}]

        agent.wait_for(lambda records: {r["event"]["dataset"].removeprefix("netline.") for r in own(records)} >= datasets)
        found = own(agent.stop())
        assert {r["network"]["community_id"] for r in found} == {community_id(found[0])}
        without.wait_for(own)
        assert not any("community_id" in r["network"] for r in own(without.stop()))
