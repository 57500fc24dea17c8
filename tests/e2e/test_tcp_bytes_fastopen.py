# SPDX-License-Identifier: BSD-2-Clause
"""tcp_bytes with TCP Fast Open: data that comes with the SYN counts once, also where the server does not take it and it is sent again."""
import contextlib

from harness import Namespace, assert_loss_equation
from puppet import Answer, Puppet
from segments import counters
from transfers import Talk, bytes_agent, wait_for_ends

ANYBODY = 1 | 2 | 4 | 0x200  # both sides, without cookies
SIZES = [(1, 1), (1000, 70_000), (200_000, 3)]


class FastTalk(Talk):
    """The first bytes go with the SYN; the rest of `up` and all of `down` follow."""

    def __init__(self, client, server, listener, ip, port, up, down):
        self.client, self.server, self.listener, self.up, self.down = client, server, listener, up, down
        fd = client.socket(6 if ":" in ip else 4)
        client.must("option", fd, "fastopen_connect", 1)
        client.must("connect", fd, ip, port)
        client.order("transfer", fd, up, down)
        self.accepted = server.accept(listener)
        assert server.must("transfer", self.accepted.fd, down, up).received == up
        answer = client.answer()
        assert (answer.result, answer.sent, answer.received) == (0, up, down)
        self.connected = Answer({**answer, "op": "connect", "socket": fd})


def fast_opens(ns):
    """(that clients had, that servers had), by the kernel's counters."""
    found = counters(ns)
    return found["TCPFastOpenActive"], found["TCPFastOpenPassive"]


@contextlib.contextmanager
def willing():
    with Namespace() as ns:
        ns.sysctl("net.ipv4.tcp_fastopen", ANYBODY)
        yield ns, Puppet(ns, "client"), Puppet(ns, "server")


def test_both_sides():
    with willing() as (ns, client, server), bytes_agent() as agent:
        fast, port = server.listen(6)
        server.must("option", fast, "fastopen", 16)
        slow, slow_port = server.listen(6)
        talks = [FastTalk(client, server, fast, ip, port, *size) for ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1") for size in SIZES]
        assert fast_opens(ns) == (len(talks), len(talks)), "the connections were no fast opens"
        refused = [FastTalk(client, server, slow, ip, slow_port, *size) for ip in ("127.0.0.1", "::1") for size in SIZES]
        assert fast_opens(ns) == (len(talks), len(talks)), "a server took data that it was to refuse"
        for talk in talks + refused:
            talk.finish()
        wait_for_ends(agent, *talks, *refused)
        records = agent.stop()
        for talk in talks + refused:
            talk.assert_told(records)
    assert_loss_equation(records, "tcp_bytes")
