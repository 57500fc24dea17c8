# SPDX-License-Identifier: BSD-2-Clause
"""delay_analysis_out where the queueing discipline holds packets back for a known time: netem, and fq that paces."""
import sys

import pytest

from harness import Agent, Namespace, assert_loss_equation, of_dataset

IPS = ["127.0.0.1", "::1", "::ffff:127.0.0.1"]
DELAY_NS = 50_000_000
RATE = 1_000_000  # bytes a second
BYTES = 200_000
EXCHANGE = """
import socket, sys, threading
ip, rate, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in ip else socket.AF_INET
SO_MAX_PACING_RATE = 47
listener = socket.create_server((ip, 0), family=family, dualstack_ipv6=":" in ip)
client = socket.socket(family)
if rate:
    client.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
client.connect(listener.getsockname())
server, _ = listener.accept()
sender = threading.Thread(target=lambda: (client.sendall(bytes(size)), client.shutdown(socket.SHUT_WR)))
sender.start()
got = 0
while data := server.recv(1 << 16):
    got += len(data)
sender.join()
assert got == size
print(client.getsockname()[1])
"""


def exchange(ns, ip, rate, size, qdisc):
    """Records of what the client sent, in order."""
    ns.run(["tc", "qdisc", "add", "dev", "lo", "root", *qdisc])
    with Agent("--ring-size", "4M", "delay_analysis_out", ns=ns) as agent:
        port = int(ns.run([sys.executable, "-c", EXCHANGE, ip, rate, size]).stdout)
        records = agent.stop()
    assert_loss_equation(records, "delay_analysis_out")
    return [r for r in of_dataset(records, "delay_analysis_out") if r["source"]["port"] == port]


@pytest.mark.parametrize("ip", IPS)
def test_netem_delays_each_packet(ip):
    with Namespace() as ns:
        sent = exchange(ns, ip, 0, 1000, ["netem", "delay", "50ms"])
    assert len(sent) >= 3
    assert all(r["netline"]["delay"]["qdisc_ns"] >= DELAY_NS for r in sent)
    assert all(r["event"]["duration"] >= DELAY_NS for r in sent if "duration" in r["event"])


@pytest.mark.parametrize("ip", IPS)
def test_fq_paces(ip):
    """TCP hands packets over ahead of time (after the first 10), but seldom more than two: at any time one waits in the queueing discipline."""
    with Namespace() as ns:
        sent = exchange(ns, ip, RATE, BYTES, ["fq"])
    data = [r for r in sent if r["netline"]["packet"]["bytes"] > 100]
    waited = sum(r["netline"]["delay"]["qdisc_ns"] for r in data)
    demanded = 1e9 * BYTES / RATE
    assert 0.5 * demanded <= waited
    assert all(r["netline"]["delay"].get("tcp_ns", 0) < demanded for r in sent), "a stamp for later is none"
