# SPDX-License-Identifier: BSD-2-Clause
"""unix: readers that come and go, stall and die; unix-connect: a shipper that comes and goes."""
import os
import pwd
import resource
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import SCALE, Agent, Namespace, of_dataset, wait_until
from outputs import assert_balance, assert_delivered, lines_of, losses_of, output_agent, status_of
from puppet import Traffic

FLOOD = 10_000 // SCALE**2
NOBODY = pwd.getpwnam("nobody")


def flood(ns, connections=FLOOD):
    Traffic(ns, connections).run()


class Reader:
    """Reads from a socket in a thread until the other end closes it, or stop()."""

    def __init__(self, connection):
        self.socket, self.data, self.ended = connection, bytearray(), False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @classmethod
    def of(cls, path):
        return cls(connected(path))

    def _read(self):
        while True:
            try:
                chunk = self.socket.recv(1 << 20)
            except OSError:
                break
            if not chunk:
                break
            self.data += chunk
        self.ended = True

    def join(self):
        """All that came until the other end closed."""
        self._thread.join(20)
        assert self.ended
        self.socket.close()
        return lines_of(bytes(self.data))

    def kill(self):
        """Leaves, perhaps in the middle of a record: what came until then."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(20)
        self.socket.close()
        return lines_of(bytes(self.data[:self.data.rfind(b"\n") + 1]))


def connected(path):
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


# We listen


def test_readers(tmp_path):
    """Each gets whole records from the next one on; those that come later get what comes later."""
    path, name = tmp_path / "s", f"unix:{tmp_path}/s"
    with Namespace() as ns, output_agent("-o", f"{name},queue=64M", "tcp_connection") as agent:
        first = Reader.of(path)
        flood(ns, FLOOD // 2)
        second = Reader.of(path)
        flood(ns, FLOOD // 2)
        wait_until(lambda: len(second.data) > 100, 10, "records")
        everything = agent.stop()
        got = first.join(), second.join()
    assert assert_delivered(got[0], everything, f"{name}#1") == 0
    sequences = [record["event"]["sequence"] for record in of_dataset(got[1], "tcp_connection")]
    assert sequences == list(range(sequences[0], len(of_dataset(everything, "tcp_connection")) + 1)) and sequences[0] > 1
    assert assert_balance(everything, f"{name}#1")["lost"] == assert_balance(everything, f"{name}#2")["lost"] == 0
    assert status_of(everything, name)["emitted"] == 0
    assert not path.exists()


def test_mode_and_group(tmp_path):
    tmp_path.chmod(0o755)
    for settings, mode, gid in ((",mode=0600", 0o600, 0), (",mode=0666,group=nogroup", 0o666, NOBODY.pw_gid), ("", 0o660, 0)):
        with Agent("-o", f"unix:{tmp_path}/s{settings}", "tcp_connection") as agent:
            is_ = (tmp_path / "s").stat()
            assert (stat.S_IMODE(is_.st_mode), is_.st_gid) == (mode, gid)
            agent.stop()


READ_AS_NOBODY = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(len(s.recv(1)))"


def read_as_nobody(path, group):
    def become():
        os.setgroups([group])
        os.setgid(group)
        os.setuid(NOBODY.pw_uid)

    return subprocess.run(["/usr/bin/python3", "-c", READ_AS_NOBODY, str(path)], preexec_fn=become, capture_output=True, text=True, timeout=20, check=False)


def test_who_may_read(tmp_path):
    """Root and the group; others neither by the socket's mode, nor where the mode lets them in."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder != folder.parent and str(folder) != "/tmp":
            folder.chmod(0o755)
    with Namespace() as ns:
        with Agent("-o", f"unix:{tmp_path}/s,group=nogroup", "nic_throughput", "-i", "0.05", ns=ns) as agent:
            assert "PermissionError" in read_as_nobody(tmp_path / "s", 12345).stderr
            assert read_as_nobody(tmp_path / "s", NOBODY.pw_gid).stdout == "1\n"
            agent.stop()
        with Agent("-o", f"unix:{tmp_path}/s,mode=0666", "nic_throughput", "-i", "0.05", ns=ns) as agent:
            assert read_as_nobody(tmp_path / "s", 12345).stdout == "0\n"
            wait_until(lambda: "a reader was refused: it is neither" in agent.stderr_text, 10, "the notice")
            agent.stop()


def refused(*args):
    with Agent(*args, ready=False, agent_records=False) as agent:
        agent.stop(None, 1)
        return agent.stderr_text


def test_path(tmp_path):
    """A path that nobody listens behind any more is taken over; nothing else is."""
    path = tmp_path / "s"
    with Agent("-o", f"unix:{path}", "tcp_connection") as agent:
        assert "somebody listens there already" in refused("-o", f"unix:{path}", "tcp_connection")
        os.kill(agent.pid, signal.SIGKILL)
        agent._process.wait()
    assert path.exists()
    with Agent("-o", f"unix:{path}", "tcp_connection") as agent:
        connected(path).close()
        path.unlink()
        path.write_text("another's")
        agent.stop()
    assert path.read_text() == "another's"
    assert "something that is no socket" in refused("-o", f"unix:{path}", "tcp_connection")
    assert "No such file" in refused("-o", f"unix:{tmp_path}/no/s", "tcp_connection")


def test_seventeen(tmp_path):
    """Sixteen readers; the next one is turned away, and finds a place when one has left."""
    path = tmp_path / "s"
    with Namespace() as ns, output_agent("-o", f"unix:{path}", "nic_throughput", "-i", "0.05", ns=ns) as agent:
        readers = [Reader.of(path) for _ in range(16)]
        wait_until(lambda: all(reader.data for reader in readers), 10, "all to read")
        assert connected(path).recv(100) == b""
        wait_until(lambda: "there are 16 already" in agent.stderr_text, 10, "the notice")
        readers.pop(5).kill()
        wait_until(lambda: connected(path).recv(1) == b"{", 10, "a place")
        agent.stop()
        for reader in readers:
            reader.join()


def test_slow_reader(tmp_path):
    """It loses the oldest, is told so, and is cut off after 30 s; nobody else notices."""
    path, name = tmp_path / "s", f"unix:{tmp_path}/s"
    with Namespace() as ns, output_agent("-o", f"{name},queue={FLOOD}K", "tcp_connection", "--duration", "50") as agent:
        slow, fast = connected(path), Reader.of(path)
        flood(ns)
        start = time.monotonic()
        agent.wait_for(lambda records: losses_of(records, f"{name}#1"))
        assert not losses_of(agent.records(), f"{name}#2")
        wait_until(lambda: "cut off" in agent.stderr_text, 40, "the end")
        assert time.monotonic() - start > 25
        flood(ns, 10)
        everything = agent.stop()
        got = fast.join()
    assert assert_delivered(got, everything, f"{name}#2") == 0
    data = b""
    while chunk := slow.recv(1 << 20):
        data += chunk
    records = lines_of(data[:data.rfind(b"\n") + 1])
    assert assert_balance(everything, f"{name}#1")["lost"] > 0
    assert assert_balance(everything, f"{name}#1")["delivered"] == len(records)


def test_killed_readers(tmp_path):
    """Thousands of readers that leave in the middle of a line, under load: up to a socket buffer is missing of each."""
    path, name, places = tmp_path / "s", f"unix:{tmp_path}/s", 15

    def come_and_go():
        for number in range(10_000 // SCALE**2 // places + 1):
            client = connected(path)
            assert client.recv(1 + 97 * (number % 50)).startswith(b"{")
            client.close()

    with Namespace() as ns, output_agent("-o", f"{name},queue=64M", "tcp_connection", "nic_throughput", "-i", "0.01", ns=ns) as agent:
        with ThreadPoolExecutor() as pool:
            flooding = pool.submit(flood, ns)
            for reader in [pool.submit(come_and_go) for _ in range(places)]:
                reader.result()
            flooding.result()
        last = Reader.of(path)
        flood(ns, 100)
        everything = agent.stop()
        got = last.join()
    for place in {record["netline"]["output"]["name"] for record in of_dataset(everything, "agent_status") if "output" in record["netline"]} - {"stdout", name}:
        assert_balance(everything, place)
        assert {reason for _, reason in losses_of(everything, place)} <= {"no_reader"}
    sequences = [record["event"]["sequence"] for record in of_dataset(got, "tcp_connection")]
    assert sequences == list(range(sequences[0], len(of_dataset(everything, "tcp_connection")) + 1))


def test_half_closed_reader(tmp_path):
    """A reader that has shut down its own writing reads on: socat, nc."""
    path = tmp_path / "s"
    with Namespace() as ns, output_agent("-o", f"unix:{path}", "nic_throughput", "-i", "0.05", ns=ns) as agent:
        client = connected(path)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(20)
        assert sum(len(client.recv(4096)) for _ in range(20)) > 2000
        agent.stop()


# We connect


class Shipper:
    """Listens, and reads from one connection after the other; `rest` is what a connection ended with that has no newline."""

    def __init__(self, path):
        self.path = str(path)
        self.data = []
        self._listener = None

    def listen(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(1)
        self._listener.settimeout(20)

    def close(self):
        self._listener.close()

    def accept(self):
        return self._listener.accept()[0]


def whole(data):
    return lines_of(data[:data.rfind(b"\n") + 1])


def test_shipper_comes_late(tmp_path):
    """What came before it is kept, as far as there is room."""
    path, name = tmp_path / "s", f"unix-connect:{tmp_path}/s"
    shipper = Shipper(path)
    with Namespace() as ns, output_agent("-o", f"{name},queue=64M", "tcp_connection") as agent:
        flood(ns)
        shipper.listen()
        reader = Reader(shipper.accept())
        wait_until(lambda: "connected" in agent.stderr_text, 10, "the notice")
        flood(ns, 10)
        everything = agent.stop()
        got = reader.join()
    assert agent.stderr_text.count("there is no socket") == 1
    assert assert_delivered(got, everything, name) == 0
    assert_balance(everything, name)


def test_shipper_stays_away(tmp_path):
    """The oldest go, and are counted; what is queued at the end is lost for `shutdown`, and stderr says so."""
    name = f"unix-connect:{tmp_path}/s"
    with Namespace() as ns, output_agent("-o", f"{name},queue=128K", "tcp_connection") as agent:
        flood(ns)
        agent.wait_for(lambda records: losses_of(records, name))
        start = time.monotonic()
        everything = agent.stop()
        assert time.monotonic() - start > 4
    assert {reason for _, reason in losses_of(everything, name)} == {"no_reader"}
    assert "did not take everything within 5 s" in agent.stderr_text
    counters = assert_balance(everything, name)
    assert counters["state"] == "retrying" and counters["delivered"] == 0 and counters["lost"] > FLOOD


def test_reconnects(tmp_path):
    """A shipper that reads a little and closes, a hundred times under load: nothing is doubled or glued."""
    path, name = tmp_path / "s", f"unix-connect:{tmp_path}/s"
    shipper, rounds, got = Shipper(path), 100 // SCALE, []
    with Namespace() as ns, output_agent("-o", f"{name},queue=64M", "nic_throughput", "-i", "0.01", "tcp_connection", ns=ns) as agent:
        shipper.listen()
        for number in range(rounds):
            connection = shipper.accept()
            data = connection.recv(1 + 331 * (number % 20))
            connection.shutdown(socket.SHUT_RD)
            connection.close()
            got += whole(data)
        reader = Reader(shipper.accept())
        flood(ns, 100)
        everything = agent.stop()
        got += reader.join()
    # what lay in the buffer of a connection that was closed is not there: assert_delivered() sees that nothing is doubled
    assert_delivered(got, everything, name, missing=rounds * 400)
    assert_balance(everything, name)


def test_not_a_stream(tmp_path):
    """A datagram socket, or a file, at the path: told, and tried again."""
    path = tmp_path / "s"
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagram.bind(str(path))
    with Agent("-o", f"unix-connect:{path}", "-o", "stdout", "tcp_connection") as agent:
        wait_until(lambda: "wrong type for socket" in agent.stderr_text, 10, "the error")
        datagram.close()
        os.unlink(path)
        shipper = Shipper(path)
        shipper.listen()
        reader = Reader(shipper.accept())
        agent.stop()
        reader.join()


# Others' readers


def test_socat(tmp_path):
    path = tmp_path / "s"
    with Namespace() as ns, output_agent("-o", f"unix:{path}", "tcp_connection") as agent:
        with open(tmp_path / "out", "wb") as out:
            socat = subprocess.Popen(["socat", "-u", f"UNIX-CONNECT:{path}", "-"], stdout=out)
        agent.wait_for(lambda records: True)
        wait_until(lambda: socat.poll() is None and flood(ns, 1) or (tmp_path / "out").stat().st_size, 10, "socat to read")
        flood(ns, 1000)
        everything = agent.stop()
        assert socat.wait(10) == 0
    got = lines_of((tmp_path / "out").read_bytes())
    sequences = [record["event"]["sequence"] for record in of_dataset(got, "tcp_connection")]
    assert sequences == list(range(sequences[0], len(of_dataset(everything, "tcp_connection")) + 1))


def test_many_outputs(tmp_path):
    """One that is stuck slows nobody: a pipe that is not read, a shipper that is away, a reader that sleeps, a full file, beside a good file."""
    good = tmp_path / "good.jsonl"
    read_end, write_end = os.pipe()
    with Namespace() as ns:
        with Agent("-o", "stdout,full=drop-oldest,queue=128K", "-o", f"unix-connect:{tmp_path}/away,queue=128K", "-o", f"unix:{tmp_path}/s,queue=128K",
                   "-o", f"file:{tmp_path}/limited,queue=128K", "-o", f"file:{good},queue=64M", "--ring-size", "16M", "tcp_connection", stdout=write_end) as agent:
            os.close(write_end)
            sleeper = connected(tmp_path / "s")
            flood(ns)
            wait_until(lambda: good.read_bytes().count(b'"netline.tcp_connection"') >= 2 * FLOOD, 20, "the good one to have all")
            os.close(read_end)
            agent.stop()
            sleeper.close()
    everything = lines_of(good.read_bytes())
    sequences = [record["event"]["sequence"] for record in of_dataset(everything, "tcp_connection")]
    assert sequences == list(range(1, len(sequences) + 1)) and len(sequences) >= 2 * FLOOD
    assert losses_of(everything, "stdout") and losses_of(everything, f"unix-connect:{tmp_path}/away")
