# SPDX-License-Identifier: BSD-2-Clause
"""Where the bench runs: namespaces of its own, subjects (netline and others) that end with it, and their costs.

Network and mount namespaces are anonymous, every child is killed by the kernel when the bench ends, and BPF statistics are
switched on by a descriptor: whatever happens to the bench, nothing of it stays.
"""
import contextlib
import ctypes
import glob
import json
import os
import pathlib
import re
import select
import signal
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
NETLINE = BUILD / "netline"
FOREIGN = ("netline", "bpftrace", "tcpstates", "tcplife", "perf", "idle")
START_LIMIT, STOP_LIMIT, TOOL_LIMIT = 20, 15, 60
SETTLE = 0.2        # until all of a run has reached the sink: netline gathers for 50 ms

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
MS_REC_PRIVATE = 1 << 14 | 1 << 18
PR_SET_PDEATHSIG = 1
BPF_ENABLE_STATS = 32
NR_BPF = {"x86_64": 321, "aarch64": 280}


def _call(name, *args):
    if getattr(_libc, name)(*args) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def enter_network():
    """A new network namespace of our own, with loopback up."""
    _call("unshare", CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def enter_namespaces():
    """A network namespace, and tracefs in a mount namespace of our own, for those who need it."""
    enter_network()
    _call("unshare", CLONE_NEWNS)
    _call("mount", b"none", b"/", None, MS_REC_PRIVATE, None)
    for target in (b"/sys/kernel/tracing", b"/sys/kernel/debug/tracing"):
        with contextlib.suppress(OSError):
            _call("mount", b"none", target, b"tracefs", 0, None)


@contextlib.contextmanager
def bpf_stats():
    """The kernel counts run time of BPF programs as long as the descriptor is open; yields whether it does."""
    number = NR_BPF.get(os.uname().machine)
    kind = (ctypes.c_uint32 * 32)()
    fd = _libc.syscall(number, BPF_ENABLE_STATS, kind, ctypes.sizeof(kind)) if number else -1
    try:
        yield fd >= 0
    finally:
        if fd >= 0:
            os.close(fd)


def _with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(argv, **kw):
    return subprocess.Popen([str(word) for word in argv], preexec_fn=_with_parent, **kw)


def tool(name, *args):
    """Runs a tool of build/tests/bench and returns what it printed, line by line."""
    done = subprocess.run([BUILD / "tests" / "bench" / name, *map(str, args)], stdout=subprocess.PIPE, check=True,
                          timeout=TOOL_LIMIT, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- the neighbours ---

class Neighbours:
    """Other tests on this machine hook the same kernel, or open sockets in it. A measurement beside which one ran is made again, while patience lasts."""

    def __init__(self, patience):
        self.patience, self.runs, self.disturbed, self.repeats, self.ours = patience, 0, 0, 0, set()

    def present(self):
        for path in glob.glob("/proc/[0-9]*/comm"):
            with contextlib.suppress(OSError):
                pid = int(path.split("/")[2])
                if pathlib.Path(path).read_text().strip() in FOREIGN and pid not in self.ours:
                    return True
        return False

    def apart(self, measure):
        """The result of measure(), made apart from neighbours if they let us."""
        while True:
            start = time.monotonic()
            while self.present() and time.monotonic() - start < self.patience:
                time.sleep(0.02)
            self.patience -= time.monotonic() - start
            start, alone = time.monotonic(), not self.present()
            result = measure()
            alone = alone and not self.present()
            if alone or self.patience <= 0:
                self.runs += 1
                self.disturbed += not alone
                return result
            self.repeats += 1
            self.patience -= time.monotonic() - start


neighbours = Neighbours(patience=45)


# --- subjects ---

def cpu_ns(pid):
    """CPU time of all threads so far."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(pathlib.Path(path).read_text().split()[0])
    if total:
        return total
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()    # no CONFIG_SCHED_INFO
    return sum(map(int, fields[11:15])) * 10**9 // os.sysconf("SC_CLK_TCK")


def memory_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text() + pathlib.Path(f"/proc/{pid}/status").read_text()
    found = {key: int(re.search(rf"^{key}:\s+(\d+)", text, re.M)[1]) for key in ("VmRSS", "VmHWM", "Pss")}
    infos = [pathlib.Path(path).read_text() for path in glob.glob(f"/proc/{pid}/fdinfo/*")]
    found["maps"] = sum(int(size) for info in infos for size in re.findall(r"^memlock:\s+(\d+)", info, re.M)) // 1024
    return found


class NotRunning(Exception):
    """It could not run, in its own words."""


class Subject:
    """A program that watches the kernel, from ready to stop. `sink`: null, count (a pipe read by wc), status (by grep) or pipe (by what tells when it ended)."""

    SINKS = {"count": ["wc", "-l"], "status": ["grep", "-F", "netline.agent_status"],
             "pipe": [BUILD / "tests" / "bench" / "lines", "read"]}

    def __init__(self, argv, sink="null", ready=None, ready_after=0):
        self.sink, self.stderr, self.lines, self.found = None, b"", None, []
        out = subprocess.DEVNULL
        if sink in self.SINKS:
            self.sink = spawn(self.SINKS[sink], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            out = self.sink.stdin
        start = time.monotonic()
        self.process = spawn(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE)
        neighbours.ours.add(self.process.pid)
        if self.sink:
            self.sink.stdin.close()
            self.sink.stdin = None
        try:
            self._wait_ready(ready, ready_after)
        except BaseException:
            self._end()
            raise
        self.start_seconds = time.monotonic() - start

    def _wait_ready(self, ready, ready_after):
        end = time.monotonic() + (START_LIMIT if ready else ready_after)
        while time.monotonic() < end:
            if select.select([self.process.stderr], [], [], max(0, end - time.monotonic()))[0]:
                data = os.read(self.process.stderr.fileno(), 65536)
                self.stderr += data
                if ready and ready in self.stderr:
                    return
                if not data:
                    self.process.wait()
                    raise NotRunning(self._words() or f"exit code {self.process.returncode}")
        if ready:
            raise NotRunning(f"not ready after {START_LIMIT} s: {self._words()}")

    def _words(self):
        return " / ".join(line.strip() for line in self.stderr.decode(errors="replace").splitlines() if line.strip())

    def cpu_ns(self):
        return cpu_ns(self.process.pid)

    def _end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.stderr += self.process.communicate(timeout=STOP_LIMIT)[1]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        if self.sink:
            text = self.sink.communicate(timeout=STOP_LIMIT)[0].decode()
            if self.sink.args[0] == "wc":
                self.lines = int(text)
            else:
                self.found = [json.loads(line) for line in text.splitlines()]

    def stop(self):
        self._end()
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.returncode is None:
            self._end()


class Netline(Subject):
    def __init__(self, *args, sink="null"):
        super().__init__([NETLINE, *args], sink, ready=b"ready: ")

    def totals(self):
        """(records, lost) of the whole run, as netline itself says at its end."""
        match = re.search(rb"(\d+) records, (\d+) lost", self.stderr)
        return (int(match[1]), int(match[2])) if match else (None, None)


# --- pairs ---

class Pairs:
    """Ratios of a measurement with a subject to the mean of those right before and after it, without one."""

    def __init__(self):
        self.ratios, self.with_subject, self.without = [], [], []

    def add(self, before, value, after):
        plain = (before + after) / 2
        self.ratios.append(value / plain)
        self.with_subject.append(value)
        self.without.append(plain)

    def percent(self):
        """Median of what the subject adds in percent, and the quartiles."""
        low, middle, high = statistics.quantiles([100 * (ratio - 1) for ratio in self.ratios], n=4)
        return middle, low, high

    def added(self):
        """Median of what the subject adds, in the unit of the measurement."""
        return statistics.median(a - b for a, b in zip(self.with_subject, self.without))
