# SPDX-License-Identifier: BSD-2-Clause
"""More connections in an accept queue at the end of the run than are looked at, or listed, at a time."""
import subprocess
import sys

from connections import in_namespace
from harness import HARDENED, Agent, Namespace, assert_loss_equation, refusing

PENDING = 1500
CLIENT = f"""
import resource
import socket
resource.setrlimit(resource.RLIMIT_NOFILE, ({2 * PENDING}, {2 * PENDING}))
listener = socket.create_server(("127.0.0.1", 0), backlog={PENDING})
clients = [socket.create_connection(listener.getsockname()) for _ in range({PENDING})]
print(*(client.getsockname()[1] for client in clients), flush=True)
input()
"""


@HARDENED
def test_all_that_wait_are_told_at_the_end(hardened):
    with Namespace() as ns, Agent("tcp_connection", ns=ns, env=refusing("elements") if hardened else None) as agent:
        process = ns.popen([sys.executable, "-c", CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        ports = sorted(map(int, process.stdout.readline().split()))
        assert len(ports) == PENDING
        records = agent.stop()
        waiting = in_namespace(records, ns, "accept")
    assert sorted(record["source"]["port"] for record in waiting) == ports
    assert {record["netline"]["accept"]["state"] for record in waiting} == {"pending"}
    assert all("process" not in record and record["netline"]["accept"]["wait_ns"] > 0 for record in waiting)
    assert_loss_equation(records, "tcp_connection")
