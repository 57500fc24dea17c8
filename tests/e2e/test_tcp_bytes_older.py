# SPDX-License-Identifier: BSD-2-Clause
"""tcp_bytes: connections that were open before netline started. Their bytes count from its start on, their totals from their own."""
import pytest

from harness import PREEMPTS_TRACEPOINTS, Namespace, assert_loss_equation
from puppet import Puppet
from transfers import Sums, Talk, assert_side, assert_ticks, bytes_agent, in_namespace, is_closed, records_of, wait_for_sums

IPS = ["127.0.0.1", "::1", "::ffff:127.0.0.1"]


def test_older_connections():
    """Of each kind one that moves bytes, one that closes without, and one that was half-closed before."""
    with Namespace() as ns:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(6)
        busy, idle, half_closed = [[Talk(client, server, listener, ip, port).move(30_000, 4000) for ip in IPS] for _ in range(3)]
        for talk in half_closed:
            talk.client.must("shutdown", talk.connected.socket, "write")
            talk.server.must("transfer", talk.accepted.fd, 0, "end")
        with bytes_agent() as agent:
            for talk in busy:
                talk.move(500, 60_000)
            for talk in half_closed:
                talk.move(0, 600)
            for talk in busy + idle + half_closed:
                talk.finish(server_first=talk in half_closed)
            both = [(talk, answer, role) for talk in busy + idle + half_closed
                    for answer, role in ((talk.connected, "unknown"), (talk.accepted, "server"))]
            agent.wait_for(lambda records: all(any(map(is_closed, records_of(records, ns, answer, role))) for _, answer, role in both))
            records = agent.stop()
        for talk, answer, role in both:
            moved = Sums(500, 60_000) if talk in busy else Sums(0, 600) if talk in half_closed else Sums(0, 0)
            if role == "server":
                assert_side(records, server, answer, moved.received, moved.sent, role=role, before=Sums(4000, 30_000), thread=False)
            else:
                assert_side(records, client, answer, *moved, role=role, before=Sums(30_000, 4000), thread=False)
        assert {r["netline"]["role"] for r in in_namespace(records, ns)} == {"server", "unknown"}
    assert_ticks(records)
    assert assert_loss_equation(records, "tcp_bytes")["lost"] == 0 or PREEMPTS_TRACEPOINTS


@pytest.mark.any_way
def test_older_and_without_listener():
    """Nothing tells which side began: both are unknown, and each is its own source."""
    with Namespace() as ns:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        talk = Talk(client, server, listener, "127.0.0.1", port).move(10, 20)
        server.close(listener)
        with bytes_agent() as agent:
            talk.move(300, 4000)
            wait_for_sums(agent, ns, talk.connected, 300, 4000, "unknown")
            wait_for_sums(agent, ns, talk.accepted, 4000, 300, "unknown")
            records = agent.stop()
        for puppet, answer, moved, before in ((client, talk.connected, (300, 4000), Sums(10, 20)),
                                              (server, talk.accepted, (4000, 300), Sums(20, 10))):
            found = assert_side(records, puppet, answer, *moved, role="unknown", before=before, thread=False, closed=False)
            assert {(r["source"]["ip"], r["source"]["port"]) for r in found} == {(answer.local, answer.local_port)}


@pytest.mark.any_way
def test_older_and_not_yet_accepted():
    """It lies in the accept queue with its data when netline starts: what is read during the run counts, and was not read before."""
    with Namespace() as ns:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen(4)
        connected = client.connect("127.0.0.1", port)
        client.must("transfer", connected.socket, 2000, 0)
        server.must("readable", listener)
        with bytes_agent() as agent:
            accepted = server.accept(listener)
            assert server.must("transfer", accepted.fd, 50, 2000).received == 2000
            assert client.must("transfer", connected.socket, 0, 50).received == 50
            wait_for_sums(agent, ns, accepted, 50, 2000)
            records = agent.stop()
        for record in records_of(records, ns, accepted):
            assert record["netline"]["bytes"]["received_total"] == 2000
        assert sum(r["netline"]["bytes"]["sent"] for r in records_of(records, ns, accepted)) == 50
