# SPDX-License-Identifier: BSD-2-Clause
"""The unit of contrib/systemd under systemd itself, which is the first process here. The tests go on where the one before has ended."""
import contextlib
import grp
import json
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

import harness
from harness import Namespace, of_dataset, wait_until
from outputs import lines_of

CONFIG = Path("/etc/netline/netline.json")
LOGS, SOCKET = Path("/var/log/netline"), Path("/run/netline/netline.sock")
DROP_INS = Path("/run/systemd/system/netline.service.d")
KEPT = {"BPF": 39, "PERFMON": 38, "NET_ADMIN": 12}
FOR_USER = {"SETUID": 7, "SETGID": 6}
LIMIT = 120
OWN, ABOUT = "_SYSTEMD_UNIT=netline.service", "UNIT=netline.service"  # entries of netline, and systemd's about it
harness.POLL = 0.3  # there is one CPU for all


def call(*argv, code=0):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert code is None or done.returncode == code, f"{argv}: {done.returncode}: {done.stdout}{done.stderr}"
    return done


def systemctl(*argv, **kw):
    return call("systemctl", *argv, **kw)


def show(*names):
    """What systemd says of the unit: texts, or the only one."""
    told = dict(line.split("=", 1) for line in systemctl("show", "netline", "--property", ",".join(names)).stdout.splitlines())
    return told[names[0]] if len(names) == 1 else [told[name] for name in names]


def main_pid():
    return int(show("MainPID"))


class Journal:
    """What comes into the journal. To ask for it again and again would take the one CPU."""

    def __init__(self):
        self.entries = []
        self._process = subprocess.Popen(["journalctl", "--follow", "--no-tail", "--quiet", "--output", "json", OWN, "+", ABOUT], stdout=subprocess.PIPE)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            self.entries.append(json.loads(line))

    def own(self, after=0):
        return [entry for entry in self.entries[after:] if entry.get("_SYSTEMD_UNIT") == "netline.service"]

    def wait_for(self, pattern, after=0):
        """An entry behind so many that the pattern is found in."""
        def found():
            return any(re.search(pattern, entry["MESSAGE"]) for entry in self.entries[after:])
        wait_until(found, LIMIT, lambda: f"{pattern}: {[entry['MESSAGE'] for entry in self.entries[after:]]}")

    def close(self):
        self._process.kill()
        self._process.wait()


def records():
    """Of all files, the oldest first; a line may just be written to the last."""
    files = sorted(LOGS.glob("netline-*.jsonl")) + [LOGS / "netline.jsonl"]
    data = b"".join(path.read_bytes() for path in files if path.exists())
    return lines_of(data[:data.rfind(b"\n") + 1])


def connect(times=1):
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(times):
            with socket.create_connection(server.getsockname()), server.accept()[0]:
                pass


def configure(probes, **settings):
    outputs = [{"output": f"file:{LOGS}/netline.jsonl", "rotate-time": "1d", **settings}, {"output": f"unix:{SOCKET}"}]
    CONFIG.write_text(json.dumps({"probes": probes, "outputs": outputs}))


@contextlib.contextmanager
def drop_in(text):
    DROP_INS.mkdir(parents=True, exist_ok=True)
    (DROP_INS / "test.conf").write_text(text)
    systemctl("daemon-reload")
    try:
        yield
    finally:
        (DROP_INS / "test.conf").unlink()
        systemctl("daemon-reload")


@pytest.fixture(name="journal", scope="module", autouse=True)
def installed():
    """As a package does it. systemctl comes back when netline has said READY=1."""
    call("systemd-sysusers", "netline.conf")
    systemctl("start", "netline")
    journal = Journal()
    yield journal
    journal.close()
    print("".join(f"{entry['PRIORITY']} {entry['MESSAGE']}\n" for entry in journal.entries))


def test_started():
    assert show("ActiveState", "SubState", "NRestarts") == ["active", "running", "0"]
    assert re.fullmatch(r"nic_throughput \(\w+\), tcp_connection \(\w+\), tcp_bytes \(\w+\), tcp_inerrs \(\w+\)", show("StatusText"))
    user = pwd.getpwnam("netline")
    assert user.pw_shell.endswith("nologin") and user.pw_uid < 1000 and grp.getgrnam("netline").gr_gid == user.pw_gid


def mask(*sets):
    return sum(1 << number for numbers in sets for number in numbers.values())


def test_user_and_capabilities():
    user = pwd.getpwnam("netline")
    for task in Path(f"/proc/{main_pid()}/task").iterdir():
        status = dict(re.findall(r"(\w+):\t(.*)", (task / "status").read_text(encoding="ascii")))
        assert set(status["Uid"].split()) == {str(user.pw_uid)} and set(status["Gid"].split()) == {str(user.pw_gid)}
        assert set(status["Groups"].split()) <= {str(user.pw_gid)}
        assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == mask(KEPT)
        assert int(status["CapBnd"], 16) == mask(KEPT, FOR_USER)
        assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_sandbox():
    """It could write nowhere else, were it root."""
    folders = ["/", "/etc", "/usr", "/var/log", "/run", "/run/systemd", "/root", "/dev", "/sys/fs/cgroup", "/sys/fs/bpf", LOGS, SOCKET.parent, "/tmp"]
    files = ["/proc/sys/net/core/somaxconn", "/sys/kernel/profiling", "/sys/module/tcp_cubic/parameters/beta"]
    script = "".join([*(f"mkdir {folder}/x && rmdir {folder}/x && echo {folder}; " for folder in folders),
                      *(f"[ -e {file} ] && echo there; cat {file} > {file} && echo {file}; " for file in files),
                      "[ -e /dev/kmsg ] && echo /dev/kmsg; head -n 1 /proc/kallsyms > /tmp/x && [ -s /tmp/x ] && echo /proc/kallsyms"])
    done = call("nsenter", f"--mount=/proc/{main_pid()}/ns/mnt", "sh", "-c", script)
    assert done.stdout.replace("there\n", "").split() == [str(LOGS), str(SOCKET.parent), "/tmp", "/proc/kallsyms"], done.stdout + done.stderr
    assert done.stdout.count("there\n") >= 1


def mode_of(path):
    status = path.stat()
    return pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name, oct(stat.S_IMODE(status.st_mode))


def test_records():
    """In the file and from the socket; both are for netline's group to read."""
    with socket.socket(socket.AF_UNIX) as reader:
        reader.settimeout(LIMIT)
        reader.connect(str(SOCKET))
        connect()
        assert reader.makefile("rb").readline().startswith(b'{"@timestamp"')
    wait_until(lambda: len(of_dataset(records(), "tcp_connection")) >= 2, LIMIT, "the connection and its accept")
    assert mode_of(LOGS) == mode_of(SOCKET.parent) == ("netline", "netline", "0o750")
    assert mode_of(LOGS / "netline.jsonl") == ("netline", "netline", "0o640")
    assert mode_of(SOCKET) == ("netline", "netline", "0o660")


def probe_events():
    return [(r["event"]["action"], r["netline"]["probe"]["name"]) for r in of_dataset(records(), "agent_probe")]


def rotated():
    return list(LOGS.glob("netline-*.jsonl"))


def test_reload(journal):
    """Probes come and go, the file is rotated; a file that is wrong is told of by systemctl, and nothing is changed."""
    pid, before = main_pid(), len(journal.entries)
    configure({"tcp_connection": {}, "delay_analysis_in": {}}, **{"rotate-size": "64K"})
    systemctl("reload", "netline")
    journal.wait_for("netline.json: read again", before)
    wait_until(lambda: len(probe_events()) >= 8, LIMIT, "records of what has changed")
    assert sorted(probe_events()[4:]) == [("probe-attached", "delay_analysis_in"), ("probe-detached", "nic_throughput"), ("probe-detached", "tcp_bytes"),
                                          ("probe-detached", "tcp_inerrs")]
    assert re.fullmatch(r"tcp_connection \(\w+\), delay_analysis_in \(\w+\)", show("StatusText"))
    assert len(rotated()) == 1
    CONFIG.write_text('{ "probes": { "tcp_conection": {} } }')
    systemctl("reload", "netline", code=1)
    journal.wait_for("tcp_conection", before)
    assert show("ActiveState", "MainPID") == ["active", str(pid)] and len(rotated()) == 1


def test_rotation():
    """By size, by the user that netline is now."""
    connect(64)
    wait_until(lambda: len(rotated()) > 1, LIMIT, "a rotation")
    wait_until(lambda: len(of_dataset(records(), "tcp_connection")) >= 130, LIMIT, "all records")
    assert {mode_of(path) for path in LOGS.iterdir()} == {("netline", "netline", "0o640")}


def test_stop(journal):
    """In order, and within the time."""
    begin = time.monotonic()
    systemctl("stop", "netline")
    assert time.monotonic() - begin < 10
    assert show("ActiveState", "Result", "ExecMainStatus") == ["inactive", "success", "0"]
    journal.wait_for(r"\d+ records, 0 lost, in [\d.]+ s")
    assert (LOGS / "netline.jsonl").read_bytes().endswith(b"\n") and of_dataset(records()[-1:], "agent_status")
    assert not SOCKET.parent.exists()


def test_wrong_configuration():
    """Is told once: systemd does not try again and again."""
    systemctl("start", "netline", code=1)
    assert show("ActiveState", "Result", "ExecMainStatus", "NRestarts") == ["failed", "exit-code", "2", "0"]


def test_watchdog(journal):
    """One that hangs is ended and begins anew; one that does not is left alone."""
    configure({"nic_throughput": {"interval": 1}})
    with drop_in("[Service]\nWatchdogSec=3\nRestartSec=100ms\n"):
        systemctl("start", "netline")
        pid = main_pid()
        os.kill(pid, signal.SIGSTOP)
        journal.wait_for(r"Watchdog timeout \(limit 3s\)")
        wait_until(lambda: show("ActiveState", "NRestarts") == ["active", "1"] and main_pid() != pid, LIMIT, "it to begin anew")
        pid, many = main_pid(), len(records())
        wait_until(lambda: len(of_dataset(records()[many:], "nic_throughput")) >= 5, LIMIT, "some seconds of records")
        assert show("NRestarts", "MainPID") == ["1", str(pid)]
        systemctl("stop", "netline")
    assert show("Result") == "success"


def exchange(ns):
    return ns.run(["/usr/bin/python3", "-c", "import socket; s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); "
                   "c.send(b'x'); s.accept()[0].recv(1)"])


def is_seen(ns):
    return any(r["netline"]["socket"]["netns"] == str(ns.inum) for r in of_dataset(records(), "delay_analysis_in"))


def test_all_network_namespaces(journal):
    """The drop-in for that: it stays root, and sees what is made later, and what only a process of another user is in."""
    configure({"delay_analysis_in": {"netns": "all"}})
    before = len(journal.entries)
    with drop_in(Path("/usr/share/netline/netns-all.conf").read_text()), Namespace() as early:
        systemctl("start", "netline")
        with Namespace() as late:
            for ns in (early, late):
                wait_until(lambda: exchange(ns) and is_seen(ns), LIMIT, "records of its packets")
        assert mode_of(LOGS) == ("root", "netline", "0o750") and mode_of(LOGS / "netline.jsonl") == ("root", "netline", "0o640")
        systemctl("stop", "netline")
    assert not [entry["MESSAGE"] for entry in journal.own(before) if "cannot" in entry["MESSAGE"] or "permission" in entry["MESSAGE"]]


def test_journal(journal):
    """One clear line each."""
    own = journal.own()
    assert len(own) > 10
    for entry in own:
        wrong = "tcp_conection" in entry["MESSAGE"]
        assert re.fullmatch(r"(?!netline: )[^\s<].*", entry["MESSAGE"]) and entry["SYSLOG_IDENTIFIER"] == "netline", entry
        assert entry["PRIORITY"] == ("3" if wrong else "5"), entry
