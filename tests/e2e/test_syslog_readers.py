# SPDX-License-Identifier: BSD-2-Clause
"""rsyslog and syslog-ng as readers, of files that are rotated and of unix-connect: what they wrote is what netline has made.

A file's reader that is stopped in order goes on where it was. A socket's reader has no such place: what is in its socket, and what it has
read but not written, goes when it is killed.
"""
import contextlib
import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from cgroups import Cgroup, Place
from harness import SCALE, Namespace, dataset_of, of_dataset, wait_until
from outputs import Files, assert_balance, assert_delivered, lines_of, output_agent
from puppet import Traffic
from syslog_readers import Rsyslog, SyslogNg, Unavailable, unpack

FLOOD = 1000 // SCALE**2
SOCKET_BUFFER = int(Path("/proc/sys/net/core/wmem_default").read_text())
READ_AT_ONCE = 128 * 1024  # by rsyslog; syslog-ng takes 100 lines
LONGEST = 16_000
ODD = 'odd=<13>%m{}$MSG\\n "\t\u00e9\u20ac\U0001f40c\x7f\'#011'  # what syslog, templates and terminals give a meaning to


@pytest.fixture(scope="module", params=[Rsyslog, SyslogNg], ids=["rsyslog", "syslog-ng"])
def kind(request):
    try:
        unpack(request.param.PACKAGE)
    except Unavailable as error:
        pytest.skip(str(error))
    return request.param


def agent_with(output, cgroup):
    return output_agent("-o", output, "--label", ODD, "--cgroup", cgroup.path, "tcp_connection")


def flood(ns, connections=FLOOD):
    Traffic(ns, connections).run()


@contextlib.contextmanager
def flooding(ns, connections=FLOOD):
    thread = threading.Thread(target=flood, args=(ns, connections))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def wait_for_records(agent, connections):
    """Two of each connection."""
    agent.wait_for(lambda records: len(of_dataset(records, "tcp_connection")) == 2 * connections, 20)


def wait_for_last(daemon, connections):
    """No other dataset has so many records."""
    record = b'"sequence":%d,' % (2 * connections)
    wait_until(lambda: any(record in data for data in daemon.tails()), 20, lambda: f"the last record; {daemon.told()}")


def assert_same(got, everything):
    """The lines are those that came to stdout."""
    made = {(dataset_of(record), record["event"]["sequence"]): record for record in everything}
    for record in got:
        assert record == made[dataset_of(record), record["event"]["sequence"]]


def test_longest(kind, tmp_path):
    """The limits of the configuration that is tested here are enough for any line."""
    path, data = tmp_path / "s", b""
    for character in ("x", '\\"', "\u20ac", "<1>", "%"):
        line = json.dumps({"text": character * (LONGEST // len(character.encode()))}, ensure_ascii=False).encode()
        data += line[:LONGEST - 3].decode(errors="ignore").encode() + b'"}\n'
    with Namespace() as ns:
        daemon = kind(ns, tmp_path, kind.SOCKET, path)
        daemon.start()
        wait_until(path.exists, 10, lambda: f"the socket; {daemon.told()}")
        client = socket.socket(socket.AF_UNIX)
        wait_until(lambda: not client.connect_ex(str(path)), 10, "the listener")
        client.sendall(data)
        wait_until(lambda: len(daemon.data()) >= len(data), 10, lambda: f"the lines; {daemon.told()}")
        assert daemon.data() == data
        client.close()
        daemon.stop()


def test_socket(kind, tmp_path):
    path = tmp_path / "s"
    name = f"unix-connect:{path}"
    with Cgroup() as cgroup, Place(cgroup) as ns, agent_with(f"{name},queue=64M", cgroup) as agent:
        daemon = kind(ns, tmp_path, kind.SOCKET, path)
        daemon.start()
        flood(ns)
        wait_for_records(agent, FLOOD)
        everything = agent.stop()
        wait_for_last(daemon, FLOOD)
        daemon.stop()
    got = lines_of(daemon.everything())
    assert assert_delivered(got, everything, name) == 0
    assert_same(got, everything)
    assert assert_balance(everything, name)["lost"] == 0


def test_socket_killed(kind, tmp_path):
    """Each run begins with a whole line, also where the one before was killed with its socket full, in the middle of a line. Nothing is doubled."""
    path, rounds, connections = tmp_path / "s", 4, 0
    name = f"unix-connect:{path}"
    with Cgroup() as cgroup, Place(cgroup) as ns, agent_with(f"{name},queue=64M", cgroup) as agent:
        daemon = kind(ns, tmp_path, kind.SOCKET, path)
        for number in range(rounds):
            daemon.start()
            with flooding(ns):
                wait_until(lambda: len(daemon.data()) > 20_000, 20, lambda: f"records; {daemon.told()}")
                if number % 2 == 0:
                    daemon.kill()
            connections += FLOOD
            if number % 2:
                daemon.pause()
                flood(ns, 500)  # more than a socket's buffer
                connections += 500
                wait_for_records(agent, connections)
                daemon.kill()
        daemon.start()
        flood(ns, 100)
        connections += 100
        wait_for_records(agent, connections)
        everything = agent.stop()
        wait_for_last(daemon, connections)
        daemon.stop()
    data = daemon.everything()
    got = lines_of(data)
    held = (SOCKET_BUFFER + READ_AT_ONCE) // min(map(len, data.splitlines()))
    assert assert_delivered(got, everything, name, missing=rounds * held) == 0
    assert_same(got, everything)
    assert_balance(everything, name)
    assert len(of_dataset(got, "tcp_connection")) < 2 * connections  # the socket was full
    assert all(path.stat().st_size for path in daemon.outputs)


def test_file(kind, tmp_path):
    """The file is followed, over rotations and stops. With a rotation while the daemon is down it would miss what it had not read before."""
    burst, rounds, stops = 100, 20, 0  # a burst makes some 180 KB: not two rotations between two looks of syslog-ng
    (tmp_path / "log").mkdir()
    files = Files(tmp_path / "log")
    name = f"file:{files.path}"
    with Cgroup() as cgroup, Place(cgroup) as ns, agent_with(f"{name},rotate-size=512K", cgroup) as agent:
        daemon = kind(ns, tmp_path, kind.FILE, files.path)
        daemon.start()
        for number in range(1, rounds + 1):
            to_stop, n = files.path.stat().st_size < 200_000, len(files.rotated())
            with flooding(ns, burst):
                if to_stop:
                    daemon.stop()
                    wait_for_records(agent, number * burst)
                    daemon.start()
                    assert len(files.rotated()) == n
                    stops += 1
            wait_for_last(daemon, number * burst)
        everything = agent.stop()
        daemon.stop()
    got = lines_of(daemon.everything())
    assert stops > 3 and len(files.rotated()) > 3
    assert assert_delivered(files.records(), everything, name) == 0
    assert assert_delivered(got, everything, name) == 0
    assert_same(got, everything)


def test_rotated_files(kind, tmp_path):
    """Only what was rotated is read: it changes no more. However fast files are rotated, and whether the daemon is there or not, it reads all."""
    rounds = 3
    (tmp_path / "log").mkdir()
    files = Files(tmp_path / "log")
    name = f"file:{files.path}"
    with Cgroup() as cgroup, Place(cgroup) as ns, agent_with(f"{name},rotate-size=64K,queue=64M", cgroup) as agent:
        daemon = kind(ns, tmp_path, kind.ROTATED, files.path.with_stem("netline-*"))
        for _ in range(rounds):
            daemon.start()
            with flooding(ns):
                wait_until(lambda: len(daemon.data()) > 100_000, 20, lambda: f"records; {daemon.told()}")
                daemon.stop()
            n = len(files.rotated())
            flood(ns, 200)
            wait_until(lambda: len(files.rotated()) > n, 20, "a rotation")
        wait_for_records(agent, rounds * (FLOOD + 200))
        n = len(files.rotated())
        os.kill(agent.pid, signal.SIGHUP)
        wait_until(lambda: len(files.rotated()) > n, 20, "the last rotation")
        daemon.start()  # now: syslog-ng 3.38 reads the folder, then watches it, and finds what is renamed in between at its next start
        wait_until(lambda: daemon.everything().count(b'"netline.tcp_connection"') >= 2 * rounds * (FLOOD + 200), 20, lambda: f"all; {daemon.told()}")
        everything = agent.stop()
        daemon.stop()
    got = lines_of(daemon.everything())
    got.sort(key=lambda record: record["event"]["sequence"])  # the daemon reads several files at a time
    assert assert_delivered(got, everything, name) == 0
    assert_same(got, everything)
