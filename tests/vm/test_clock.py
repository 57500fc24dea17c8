# SPDX-License-Identifier: BSD-2-Clause
"""The clock is set, forwards and back: a record's time stays that of whoever made the connection."""
import time

import pytest

from connections import timestamp
from harness import Agent, Namespace, of_dataset
from puppet import Puppet

EXEMPT = 0.1  # s after a step
MS = 1_000_000


@pytest.fixture(name="clock")
def restored_clock():
    """Sets the clock forward by so much; at the end it is as if nobody had."""
    start, monotonic = time.time(), time.monotonic()
    yield lambda seconds: time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)
    time.clock_settime(time.CLOCK_REALTIME, start + time.monotonic() - monotonic)


def test_clock_steps(clock):
    with Namespace() as ns, Agent("tcp_connection", "--direction", "connect", ns=ns) as agent:
        server, client = Puppet(ns, "server"), Puppet(ns, "client")
        listener, port = server.listen()
        answers = []

        def connect():
            answer = client.connect("127.0.0.1", port)
            server.close(server.accept(listener).fd)
            client.close(answer.socket)
            return answer

        for step in (0, 3600, -7200, 0.5, -0.5, 3600):
            clock(step)
            until = time.monotonic() + EXEMPT
            while time.monotonic() < until:
                connect()
            answers += [connect() for _ in range(20)]
        ports = {answer.local_port: answer for answer in answers}
        agent.wait_for(lambda records: {r["source"]["port"] for r in of_dataset(records, "tcp_connection")} >= set(ports))
        records = agent.stop()
    checked = 0
    for record in of_dataset(records, "tcp_connection"):
        answer = ports.get(record["source"]["port"])
        if answer:
            assert answer.start_real - MS <= timestamp(record) <= answer.end_real + MS, (answer, record)
            checked += 1
    assert checked >= len(ports)
