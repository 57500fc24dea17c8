# SPDX-License-Identifier: BSD-2-Clause
"""Life as a service: what systemd is told, another user with few capabilities, and what that user can still do."""
import grp
import os
import pwd
import re
import signal
import socket
import subprocess
import time

import pytest

from harness import NETLINE, Agent, Namespace, of_dataset, wait_until
from outputs import Files, lines_of
from puppet import Traffic
from test_reload import Config

NOBODY = pwd.getpwnam("nobody")
CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF = 12, 38, 39


class Manager:
    """The socket on which systemd listens."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.settimeout(20)
        self.messages = []

    def wait_for(self, word):
        while not any(word in message for message in self.messages):
            self.messages.append(self._socket.recv(4096).decode())
        return self.messages

    def close(self):
        self._socket.close()


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(tmp_path, abstract):
    """READY=1 when records flow, WATCHDOG=1 again and again, STOPPING=1 at the end."""
    path = f"@netline-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    manager = Manager("\0" + path[1:] if abstract else path)
    with Agent("tcp_connection", env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"}) as agent:
        assert "READY=1\nSTATUS=tcp_connection" in manager.wait_for("READY=1")[0]
        for _ in range(5):
            manager.messages.clear()
            manager.wait_for("WATCHDOG=1")
        agent.stop(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    manager.close()


def test_watchdog_of_another(tmp_path):
    """WATCHDOG_PID names another process; a NOTIFY_SOCKET that is not there hurts nobody."""
    manager = Manager(str(tmp_path / "notify"))
    with Agent("tcp_connection", "--duration", "1", env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}) as agent:
        agent.stop(None)
    assert not any("WATCHDOG" in message for message in manager.wait_for("STOPPING=1"))
    manager.close()
    for path in (str(tmp_path / "nothing"), "relative", "", "/" + "x" * 200):
        with Agent("tcp_connection", env={"NOTIFY_SOCKET": path}) as agent:
            agent.stop()


def test_journal():
    """Messages have the priority in front that systemd reads, and no name; records on their way into the journal are warned of."""
    read_end, write_end = os.pipe()
    stream = "{0.st_dev}:{0.st_ino}".format(os.fstat(write_end))
    done = subprocess.run([NETLINE, "--count", "1", "nic_throughput", "-i", "0.1", "--host", "journal"], env={**os.environ, "JOURNAL_STREAM": stream},
                          stdout=write_end, stderr=write_end, check=False, timeout=60)
    os.close(write_end)
    with open(read_end, encoding="utf-8") as file:
        messages = [line for line in file.read().splitlines() if not line.startswith("{")]
    assert done.returncode == 0
    assert re.match(r"<5>stdout is the journal", messages[0]) and re.match(r"<5>ready: nic_throughput", messages[1]) and len(messages) == 3
    done = subprocess.run([NETLINE, "--nosuch"], env={**os.environ, "JOURNAL_STREAM": stream}, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == "netline: --nosuch: no such option; see netline --help\n"


def status_of_threads(pid):
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
            yield dict(re.findall(r"(\w+):\t(.*)", file.read()))


def assert_dropped(pid):
    """No thread has more than it needs, nor can get it back."""
    wanted = 1 << CAP_BPF | 1 << CAP_PERFMON | 1 << CAP_NET_ADMIN
    threads = list(status_of_threads(pid))
    for status in threads:
        assert set(status["Uid"].split()) == {str(NOBODY.pw_uid)} and set(status["Gid"].split()) == {str(NOBODY.pw_gid)}
        assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == wanted
        assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert set(map(int, status["Groups"].split())) <= {g.gr_gid for g in grp.getgrall() if "nobody" in g.gr_mem} | {NOBODY.pw_gid}
    return len(threads)


@pytest.fixture(name="folder")
def own_folder(tmp_path):
    """A folder that nobody may write to and reach."""
    for folder in tmp_path.parents:
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    os.chown(tmp_path, NOBODY.pw_uid, NOBODY.pw_gid)
    return tmp_path


def test_user(folder):
    """Files are that user's, rotation and sockets work, walks and intervals too; workers have no more capabilities than the loop."""
    files = Files(folder)
    with Namespace() as ns, Agent("--user", "nobody", "-o", f"file:{files.path},rotate-size=64K", "-o", f"unix:{folder}/s", "-o", f"unix-connect:{folder}/c",
                                  "-o", "stdout,agent=yes", "-i", "0.1", "tcp_connection", "tcp_bytes", "tcp_inerrs", "nic_throughput", ns=ns) as agent:
        Traffic(ns, 200, max_bytes=1000).run()
        agent.wait_for(lambda records: len(of_dataset(records, "tcp_bytes")) >= 300)
        os.kill(agent.pid, signal.SIGHUP)
        wait_until(files.rotated, 10, "a rotation")
        client = socket.socket(socket.AF_UNIX)
        client.connect(f"{folder}/s")
        assert client.recv(1) == b"{"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{folder}/c")
        os.chown(f"{folder}/c", NOBODY.pw_uid, -1)
        listener.listen(1)
        assert listener.accept()[0].recv(1) == b"{"
        assert assert_dropped(agent.pid) > 1
        agent.stop()
    assert {path.owner() for path in files.all()} == {"nobody"}
    assert files.records()


def test_refused_as_user(folder):
    """What that user may not is told in one line, and nothing changes."""
    config = Config(folder / "c.json", user="nobody", probes={"nic_throughput": {"interval": 0.1}})
    (folder / "root").mkdir(mode=0o700)
    with Namespace() as ns, config.agent(ns=ns) as agent:
        message = config.reload(agent, user="nobody", probes={"nic_throughput": {}}, outputs=[{"output": f"file:{folder}/root/x"}])
        assert "Permission denied" in message and "nothing is changed" in message
        message = config.reload(agent, probes={"nic_throughput": {}}, user="root")
        assert "user" in message and "nothing is changed" in message
        agent.stop()


def test_no_such_user():
    with Agent("--user", "no_such_user", ready=False) as agent:
        agent.stop(None, 2)
        assert "no such user" in agent.stderr_text
