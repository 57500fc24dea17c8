# SPDX-License-Identifier: BSD-2-Clause
"""What the end-to-end tests share: network namespaces, a running netline, and checks that hold for every stream.

Nothing here sleeps and hopes: wait_until() polls a condition until a limit, and says what it waited for.
"""
import collections
import contextlib
import functools
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import fastjsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NETLINE = pathlib.Path(os.environ.get("NETLINE", ROOT / "build" / "netline")).resolve()
MAX_LINE = 4096
SCALE = int(os.environ.get("NETLINE_SCALE", "1"))  # by which a slow machine divides what a test does many times
START_LIMIT = STOP_LIMIT = 15 * SCALE
POLL = 0.01


def _load_schemas():
    """Compiled, for there are many records; tests/schema checks the schemas themselves. Their keywords mean the same in draft 7."""
    found = {}
    for path in sorted((ROOT / "schema").glob("*.json")):
        schema = json.loads(path.read_text())
        if str(schema.get("title", "")).startswith("netline."):
            found[path.stem] = fastjsonschema.compile(schema)
    return found


SCHEMAS = _load_schemas()


def validate(record):
    """AssertionError with the path of the first error, if the record does not fit the schema of its dataset."""
    dataset = record.get("event", {}).get("dataset", "")
    name = dataset.removeprefix("netline.")
    assert name in SCHEMAS and name != dataset, f"no schema for dataset {dataset!r}: {json.dumps(record)}"
    try:
        SCHEMAS[name](record)
    except fastjsonschema.JsonSchemaValueException as error:
        raise AssertionError(f"{name}: {error.message}\n{json.dumps(record)}") from None


def wait_until(condition, timeout=10, what="the condition"):
    """Polls until condition() is true, and returns what it returned; AssertionError at the limit."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {timeout} s for {what() if callable(what) else what}"
        time.sleep(POLL)


KERNEL = tuple(map(int, os.uname().release.split(".")[:2]))  # for what tests may expect; netline itself compares no versions
# Tasks are preempted in tracepoints, and the kernel skips programs meanwhile: netline has stand-ins, and counts what they miss, too.
PREEMPTS_TRACEPOINTS = KERNEL >= (7, 0)
SYSTEM_CALLS = {
    "x86_64": {"write": 1, "writev": 20, "connect": 42, "accept": 43, "accept4": 288},
    "aarch64": {"write": 64, "writev": 66, "connect": 203, "accept": 202, "accept4": 242},
}[os.uname().machine]


def blocked_in(pid, *calls):
    """Whether a thread of the process is in one of these system calls, blocked."""
    numbers = {str(SYSTEM_CALLS[call]) for call in calls}
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/syscall"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if path.read_text(encoding="ascii").split()[0] in numbers:
                return True
    return False


def dataset_of(record):
    return record["event"]["dataset"]


def of_dataset(records, name):
    return [r for r in records if dataset_of(r) == f"netline.{name.removeprefix('netline.')}"]


def events(records, probe):
    """The counters of the probe's last agent_status record: dict(produced, emitted, filtered, lost)."""
    for record in reversed(of_dataset(records, "agent_status")):
        if record["netline"]["scope"] == "probe" and record["netline"]["probe"]["name"] == probe:
            counters = record["netline"]["events"]
            return {key: counters[key] for key in ("produced", "emitted", "filtered", "lost")}
    raise AssertionError(f"no agent_status record of probe {probe} among {len(records)} records")


def assert_loss_equation(records, probe):
    """produced = emitted + filtered + lost, and emitted is what the stream holds: a record that stands for several counts as these. Returns the counters."""
    counters = events(records, probe)
    assert counters["produced"] == counters["emitted"] + counters["filtered"] + counters["lost"], counters
    seen = sum(r["netline"].get("inerr", {}).get("count", 1) for r in of_dataset(records, probe))
    assert counters["emitted"] == seen, f"{seen} events in records of {probe} seen, but {counters}"
    return counters


def parse_lines(data):
    """Parses what one run of netline wrote and checks all that holds for every stream; returns the records."""
    assert isinstance(data, bytes)
    if not data:
        return []
    assert data.endswith(b"\n"), f"the last line has no end: {data[-200:]!r}"
    records, last, ids = [], collections.Counter(), set()
    for line in data[:-1].split(b"\n"):
        assert len(line) + 1 <= MAX_LINE, f"a line of {len(line) + 1} bytes: {line[:200]!r}..."
        record = parse_line(line)
        validate(record)
        last[dataset_of(record)] += 1
        sequence = record["event"]["sequence"]
        assert sequence == last[dataset_of(record)], \
            f"{dataset_of(record)}: sequence {sequence} where {last[dataset_of(record)]} is due"
        ids.add(record["agent"]["ephemeral_id"])
        records.append(record)
    assert len(ids) == 1, f"one run, several ephemeral_id: {ids}"
    return records


def parse_line(line):
    def refuse_constant(text):
        raise ValueError(f"{text} is not JSON")

    def refuse_twins(pairs):
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise ValueError(f"a key twice: {keys}")
        return dict(pairs)

    try:
        return json.loads(line.decode("utf-8"), object_pairs_hook=refuse_twins, parse_constant=refuse_constant)
    except ValueError as error:
        raise AssertionError(f"not a JSON line: {error}: {line!r}") from error


class Namespace:
    """A network namespace of our own with lo up, removed at exit together with every process in it."""

    _numbers = itertools.count(1)

    def __init__(self):
        self.name = f"nl-{os.getpid()}-{next(self._numbers)}"
        self._processes = []

    def __enter__(self):
        _call(["ip", "netns", "add", self.name])
        try:
            self.run(["ip", "link", "set", "lo", "up"])
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    _close_quietly(stream)
        for pid in self.pids():  # what those had forked
            _kill_quietly(pid)
        wait_until(lambda: not self.pids(), 10, f"the end of the processes in {self.name}")
        _call(["ip", "netns", "del", self.name])

    def pids(self):
        return [int(pid) for pid in _call(["ip", "netns", "pids", self.name]).stdout.split()]

    @property
    def inum(self):
        """The inode number by which records name the namespace (there it is a string)."""
        return os.stat(f"/run/netns/{self.name}").st_ino

    def run(self, argv, **kw):
        kw = {"check": True, "text": True, "timeout": 30, **kw}
        if "stdout" not in kw and "stderr" not in kw:
            kw.setdefault("capture_output", True)
        try:
            return subprocess.run(self._inside(argv), **kw)
        except subprocess.CalledProcessError as error:
            raise AssertionError(f"{' '.join(map(str, argv))}: {error.returncode}: {error.stdout}{error.stderr}") from error

    def popen(self, argv, **kw):
        process = subprocess.Popen(self._inside(argv), **kw)
        self._processes.append(process)
        return process

    def sysctl(self, name, value):
        self.run(["sysctl", "-qw", f"{name}={value}"])

    def _inside(self, argv):
        return ["ip", "netns", "exec", self.name, *map(str, argv)]


def _call(argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.returncode}: {done.stderr}"
    return done


def _close_quietly(stream):
    try:
        stream.close()
    except OSError:  # what was still buffered for a process that has ended
        pass


def _kill_quietly(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def veth(a, b, name_a="eth0", name_b="eth0", ip4=("10.77.0.1", "10.77.0.2"), ip6=("fd77::1", "fd77::2")):
    """Joins two namespaces by a veth pair with addresses (/24 and /64; None: without), and waits until both ends are usable."""
    _call(["ip", "link", "add", name_a, "netns", a.name, "type", "veth", "peer", "name", name_b, "netns", b.name])
    for side, (namespace, name) in enumerate(((a, name_a), (b, name_b))):
        namespace.sysctl(f"net.ipv6.conf.{name}.accept_dad", 0)
        if ip4:
            namespace.run(["ip", "addr", "add", f"{ip4[side]}/24", "dev", name])
        if ip6:
            namespace.run(["ip", "addr", "add", f"{ip6[side]}/64", "dev", name, "nodad"])
        namespace.run(["ip", "link", "set", name, "up"])
    for namespace, name in ((a, name_a), (b, name_b)):
        wait_until(lambda: _usable(namespace, name), 10, f"{name} in {namespace.name} to be usable")


def _usable(namespace, name):
    link, = json.loads(namespace.run(["ip", "-j", "addr", "show", "dev", name]).stdout)
    return "LOWER_UP" in link["flags"] and link["operstate"] == "UP" and \
        not any(address.get("tentative") for address in link["addr_info"])


class Agent:
    """A running netline. With stdout=None its records are read as they come; else `stdout` goes to Popen, and stop() returns [].

    agent_records=True passes `-o stdout,agent=yes`, unless an -o is among the arguments. NETLINE_ATTACH in the environment forces a way.
    """

    def __init__(self, *args, ns=None, ready=True, stdout=None, env=None, agent_records=True):
        self.args = [str(arg) for arg in args]
        if agent_records and not any(re.match(r"-o|--out", arg) for arg in self.args):
            self.args = ["-o", "stdout,agent=yes", *self.args]
        if "NETLINE_ATTACH" in os.environ and "--attach" not in self.args:
            self.args = ["--attach", os.environ["NETLINE_ATTACH"], *self.args]
        self._ns, self._ready, self._stdout, self._env = ns, ready, stdout, env
        self._process = None
        self._threads = []
        self._changed = threading.Condition()
        self._data = bytearray()
        self._parsed = []
        self._broken = None
        self._stderr = bytearray()

    def __enter__(self):
        argv = [str(NETLINE), *self.args]
        if self._ns:
            argv = ["ip", "netns", "exec", self._ns.name, *argv]
        assert NETLINE.exists(), f"{NETLINE} is missing: build it, or set NETLINE"
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if self._stdout is None else self._stdout,
            stderr=subprocess.PIPE, env={**os.environ, **(self._env or {})})
        try:
            self._start_thread(self._read_stderr)
            if self._stdout is None:
                self._start_thread(self._read_stdout)
            if self._ready:
                wait_until(self._is_ready, START_LIMIT, lambda: f"netline to be ready; stderr: {self.stderr_text!r}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        process = self._process
        if process.poll() is None:
            process.kill()
        process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()

    def _start_thread(self, target):
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _is_ready(self):
        if re.search(r"^netline: ready", self.stderr_text, re.M):
            return True
        assert self.returncode is None, f"netline ended with {self.returncode} at start: {self.stderr_text}"
        return False

    def _read_stderr(self):
        while chunk := os.read(self._process.stderr.fileno(), 65536):
            self._stderr += chunk

    def _read_stdout(self):
        rest = b""
        while chunk := os.read(self._process.stdout.fileno(), 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            with self._changed:
                self._data += chunk
                try:
                    self._parsed += [parse_line(line) for line in lines if not self._broken]
                except AssertionError as error:
                    self._broken = error
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def pid(self):
        return self._process.pid

    @property
    def returncode(self):
        """None while it runs. Once it is not, stderr_text is all that netline has written there."""
        code = self._process.poll()
        if code is not None:
            self._threads[0].join()
        return code

    @property
    def stderr_text(self):
        return self._stderr.decode("utf-8", "replace")

    def records(self, dataset=None):
        """The records so far; `dataset` with or without `netline.` before it."""
        with self._changed:
            records = list(self._parsed)
        return of_dataset(records, dataset) if dataset else records

    def wait_for(self, predicate, timeout=10):
        """Waits until predicate(records so far) is true; returns what it returned."""
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                if self._broken:
                    raise self._broken
                value = predicate(list(self._parsed))
                if value:
                    return value
                left = end - time.monotonic()
                if left <= 0 or (self._process.poll() is not None and not self._threads[-1].is_alive()):
                    raise AssertionError(self._dump(f"no such records within {timeout} s" if left <= 0 else "netline has ended"))
                self._changed.wait(min(left, 0.1))

    def _dump(self, why):
        counts = collections.Counter(map(dataset_of, self._parsed))
        tail = "\n".join(json.dumps(record) for record in self._parsed[-20:])
        return f"{why}; {dict(counts)}; exit code {self.returncode}; stderr: {self.stderr_text!r}; the last records:\n{tail}"

    def stop(self, sig=signal.SIGINT, code=0):
        """Ends netline by `sig` (None: it ends by itself), checks its exit code and everything that it wrote; returns the records."""
        if sig is not None:
            self._process.send_signal(sig)
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._dump(f"netline did not end within {STOP_LIMIT} s")) from None
        for thread in self._threads:
            thread.join()
        assert self.returncode == code, self._dump(f"exit code {self.returncode} instead of {code}")
        return parse_lines(bytes(self._data))


@functools.lru_cache(maxsize=None)
def program(name):
    """The path of a test program, built from tests/e2e/NAME.c as `make tools` does, if that has not been done since."""
    folder, target = ROOT / "tests" / "e2e", ROOT / "build" / "tests" / "e2e" / name
    sources = [folder / f"{name}.c", *folder.glob("*.h")]
    if not target.exists() or target.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        target.parent.mkdir(parents=True, exist_ok=True)
        _call(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", "-o", str(target), str(sources[0]), "-lpthread"])
    return str(target)


CAN_REFUSE = "static" not in NETLINE.parts  # bpf(2) can only be replaced in a program with shared libraries


def refusing(what):
    """An environment in which the kernel refuses that: see refusing.c."""
    return {"LD_PRELOAD": program("refusing"), "REFUSES": what}


# For tests that go over elements of maps: whether the kernel refuses iterators for that.
HARDENED = pytest.mark.parametrize("hardened", [False, True] if CAN_REFUSE else [False], ids=lambda hardened: "hardened" if hardened else "")
