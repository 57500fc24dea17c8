# SPDX-License-Identifier: BSD-2-Clause
"""TCP Fast Open: data comes with the SYN, and a server may accept and close before the handshake is over."""
import ctypes
import os
import socket
import threading

import pytest

from connections import in_namespace
from harness import Agent, Namespace, assert_loss_equation

TCP_FASTOPEN = 23
CONNECTIONS = 50


def serve(listener):
    for _ in range(CONNECTIONS):
        accepted, _ = listener.accept()
        assert accepted.recv(100)
        accepted.close()


@pytest.fixture
def namespace():
    """One whose servers take fast opens without a cookie, entered by the test's own thread."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    with Namespace() as namespace:
        namespace.run(["sysctl", "-q", "net.ipv4.tcp_fastopen=0x603"])
        inside = os.open(f"/run/netns/{namespace.name}", os.O_RDONLY)
        setns(inside)
        yield namespace
        setns(before)
        os.close(inside)
        os.close(before)


def setns(fd):
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setns(fd, 0) == 0, os.strerror(ctypes.get_errno())


def test_each_connection_has_one_record_a_side(namespace):
    with Agent("tcp_connection", ns=namespace) as agent, socket.socket() as listener:
        listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, CONNECTIONS)
        listener.bind(("127.0.0.1", 0))
        listener.listen(CONNECTIONS)
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        ports = set()
        for _ in range(CONNECTIONS):
            with socket.socket() as client:
                client.sendto(b"hello", socket.MSG_FASTOPEN, listener.getsockname())
                ports.add(client.getsockname()[1])
                assert client.recv(1) == b""
        server.join()
        opened = int(dict(zip(*[line.split() for line in namespace.run(["cat", "/proc/net/netstat"]).stdout.splitlines()
                                if line.startswith("TcpExt")]))["TCPFastOpenPassive"])
        records = agent.stop()
    assert opened == CONNECTIONS, "the connections were no fast opens"
    for action in ("connect", "accept"):
        of_action = in_namespace(records, namespace, action)
        assert sorted(r["source"]["port"] for r in of_action) == sorted(ports)
        assert {(r["event"]["outcome"], r["process"]["pid"]) for r in of_action} == {("success", os.getpid())}
    assert_loss_equation(records, "tcp_connection")
