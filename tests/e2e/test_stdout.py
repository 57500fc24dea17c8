# SPDX-License-Identifier: BSD-2-Clause
"""stdout: whole lines, a reader that is slow, stuck or gone, and how a run ends.

The events are connections to a listener of our own on loopback, one tcp_connection record each: `--port` of the listener and
`--direction accept` keep everything else on the machine out of the records.
"""
import collections
import contextlib
import fcntl
import json
import os
import pty
import re
import resource
import select
import signal
import socket
import statistics
import struct
import subprocess
import termios
import threading
import time

import pytest

from harness import NETLINE, Agent, Namespace, blocked_in, dataset_of, of_dataset, parse_lines, validate, wait_until

FLOOD = 20_000
SMALL_PIPE = 4096
RSS_LIMIT = 64 << 20
NOTICE = re.compile(r"^netline: (ready|ended?|done|stopped|\d+ records)\b")
LINGER_0 = struct.pack("ii", 1, 0)  # close resets, so that no TIME_WAIT eats the ports


# Events

class Listener:
    """A listener on loopback; connect() makes whole connections to it, accepted and closed again."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self._socket.getsockname()[1]
        self.filters = ("--port", self.port, "--direction", "accept", "tcp_connection")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def connect(self, count=1):
        for _ in range(count):
            client = socket.socket()
            client.connect(("127.0.0.1", self.port))
            server, _peer = self._socket.accept()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            client.close()
            server.close()


# Pipes

class Pipe:
    """A pipe for netline's stdout, smaller than usual. drain() reads it in a thread to its end; text() is what came."""

    def __init__(self, size=SMALL_PIPE):
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, size)
        self._data = bytearray()
        self._thread = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close_write_end()
        if self._thread:
            self._thread.join()
        self.close_read_end()

    def close_write_end(self):
        if self.write_end is not None:
            os.close(self.write_end)
            self.write_end = None

    def close_read_end(self):
        if self.read_end is not None:
            os.close(self.read_end)
            self.read_end = None

    def drain(self):
        def read():
            while chunk := os.read(self.read_end, 1 << 16):
                self._data.extend(chunk)

        self._thread = threading.Thread(target=read, daemon=True)
        self._thread.start()

    def text(self):
        return bytes(self._data)

    def lines(self):
        return self._data.count(b"\n")

    def rest(self):
        """What is in the pipe, when nobody writes any more."""
        self.close_write_end()
        while chunk := os.read(self.read_end, 1 << 16):
            self._data.extend(chunk)
        return self.text()


@contextlib.contextmanager
def agent_on(pipe, *args, **kw):
    """netline with the pipe as its stdout; from here on only netline holds the writing end."""
    with Agent(*args, stdout=pipe.write_end, **kw) as agent:
        pipe.close_write_end()
        yield agent


def end(agent, pipe, sig=signal.SIGINT):
    """Ends netline, whose reader reads; returns all that it wrote."""
    agent.stop(sig)
    pipe.__exit__()
    return pipe.text()


def read_records(data):
    """Whole lines that are JSON; every agent record and every 50th other one against its schema: all of a flood would take minutes."""
    assert data.endswith(b"\n"), f"the last line has no end: {data[-200:]!r}"
    records = [json.loads(line) for line in data.splitlines()]
    for number, record in enumerate(records):
        if number % 50 == 0 or dataset_of(record).startswith("netline.agent_"):
            validate(record)
    return records


def sequences(records, dataset):
    return [record["event"]["sequence"] for record in of_dataset(records, dataset)]


def last_output_status(records):
    return [r for r in of_dataset(records, "agent_status") if r["netline"]["scope"] == "output"][-1]["netline"]["output"]


def check_events(records):
    """The last counters of the probe. Produced is more than our own events: the connecting sides are filtered."""
    counters = [r for r in of_dataset(records, "agent_status") if r["netline"]["scope"] == "probe"][-1]["netline"]["events"]
    assert counters["produced"] == counters["emitted"] + counters["filtered"] + counters["lost"]
    return counters


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def peak_rss(agent):
    return int(status_of(agent.pid)["VmHWM"].split()[0]) * 1024


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))


def complaints(stderr):
    return [line for line in stderr.splitlines() if not NOTICE.match(line)]


# Under load

def test_only_whole_valid_lines_under_load():
    with Listener() as listener, Agent(*listener.filters, agent_records=True) as agent:
        listener.connect(2000)
        agent.wait_for(lambda records: len(of_dataset(records, "tcp_connection")) >= 2000)
        records = agent.stop()
    assert len(of_dataset(records, "tcp_connection")) == 2000
    assert not of_dataset(records, "agent_lost")
    assert complaints(agent.stderr_text) == []


def test_a_reader_that_stops_and_goes_on_loses_what_is_told_and_nothing_else():
    with Listener() as listener, Pipe() as pipe, agent_on(pipe, *listener.filters) as agent:
        listener.connect(FLOOD)
        assert blocked_in(agent.pid, "write", "writev") and agent.returncode is None
        assert peak_rss(agent) < RSS_LIMIT
        pipe.drain()
        listener.connect(100)
        data = end(agent, pipe)
        records = read_records(data)
    counters = check_events(records)
    seen = sequences(records, "tcp_connection")
    assert seen == list(range(1, len(seen) + 1)), "full=block loses nothing between ring and reader"
    assert len(seen) == counters["emitted"]
    assert counters["lost"] > 0, "20,000 events were to overflow queue and ring"
    assert counters["emitted"] + counters["lost"] == FLOOD + 100
    told = of_dataset(records, "agent_lost")
    assert sum(r["netline"]["lost"]["count"] for r in told) == told[-1]["netline"]["lost"]["count_total"] == counters["lost"]
    assert {(r["netline"]["lost"]["stage"], r["event"]["reason"], r["netline"]["lost"]["dataset"]) for r in told} == \
        {("kernel", "ring_full", "netline.tcp_connection")}
    status = last_output_status(records)
    assert status["emitted"] == status["delivered"] + status["queued"] + status["lost"] and status["lost"] == 0


def test_a_stuck_reader_makes_intervals_longer():
    with Namespace() as namespace, Pipe() as pipe:
        for number in range(30):
            namespace.run(["ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", f"w{number}"])
        with agent_on(pipe, "--interval", "0.01", "-o", "stdout,queue=128K,agent=yes", "nic_throughput", ns=namespace) as agent:
            wait_until(lambda: blocked_in(agent.pid, "write", "writev"), 10, "netline to wait for its reader")
            used = cpu_ticks(agent.pid)
            start = time.monotonic()
            wait_until(lambda: time.monotonic() - start > 1, 5, "a second to go by")
            assert cpu_ticks(agent.pid) - used < 0.3 * os.sysconf("SC_CLK_TCK"), "a stuck reader must not keep netline busy"
            assert peak_rss(agent) < RSS_LIMIT
            pipe.drain()
            lines = pipe.lines()
            wait_until(lambda: pipe.lines() > lines + 1000, 10, "records after the reader went on")
            records = read_records(end(agent, pipe))
    throughput = of_dataset(records, "nic_throughput")
    assert sequences(records, "nic_throughput") == list(range(1, len(throughput) + 1))
    assert max(r["event"]["duration"] for r in throughput) > 0.9e9
    spans = list(dict.fromkeys((r["event"]["start"], r["@timestamp"]) for r in throughput))
    assert all(before[1] == after[0] for before, after in zip(spans, spans[1:])), "intervals join without a gap"
    counters = check_events(records)
    assert counters["produced"] == counters["emitted"] == len(throughput) and not counters["lost"]


@pytest.mark.parametrize("policy", ["drop-newest", "drop-oldest"])
def test_a_full_queue_drops_and_counts(policy):
    connections = 3000
    spec = f"stdout,agent=yes,full={policy},queue=128K"
    with Listener() as listener, Pipe() as pipe, agent_on(pipe, "-o", spec, *listener.filters) as agent:
        listener.connect(connections)
        wait_until(lambda: blocked_in(agent.pid, "write", "writev"), 10, "netline to wait for its reader")
        assert agent.returncode is None and peak_rss(agent) < RSS_LIMIT
        wait_until(lambda: not works(agent), 5, "netline to have read its ring")
        pipe.drain()
        after = 0
        while max(map(int, re.findall(rb'"tcp-accept","sequence":(\d+)', pipe.text())), default=0) <= connections:
            listener.connect()  # dropped as well, as long as the queue is full
            after += 1
        records = read_records(end(agent, pipe))
    counters, status = check_events(records), last_output_status(records)
    assert (counters["emitted"], counters["lost"]) == (connections + after, 0)
    assert status["emitted"] == status["delivered"] + status["queued"] + status["lost"] and status["lost"] > 0
    seen = sequences(records, "tcp_connection")
    assert seen == sorted(set(seen))
    gaps = set(range(1, connections + after + 1)) - set(seen)
    assert (connections in gaps) == (policy == "drop-newest")
    assert policy == "drop-oldest" or seen[0] == 1
    lost = [r for r in of_dataset(records, "agent_lost") if r["netline"]["lost"]["dataset"] == "netline.tcp_connection"]
    assert {(r["netline"]["lost"]["stage"], r["event"]["reason"], r["netline"]["lost"]["output"]) for r in lost} == \
        {("output", "queue_full", "stdout")}
    assert lost[-1]["netline"]["lost"]["count_total"] == len(gaps)
    assert status["lost"] >= len(gaps)


def works(agent):
    """Whether netline uses the processor, in a tenth of a second: it does while it reads its ring."""
    used, start = cpu_ticks(agent.pid), time.monotonic()
    wait_until(lambda: time.monotonic() - start > 0.1, 5, "a tenth of a second to go by")
    return cpu_ticks(agent.pid) > used


# A reader that goes away

def test_head_ends_it_quietly():
    netline, head = piped([NETLINE, "--interval", "0.05", "nic_throughput"], ["head", "-1"])
    line, _ = head.communicate(timeout=15)
    check_quiet_end(netline)
    record, = parse_lines(line)
    assert dataset_of(record) == "netline.nic_throughput"


@pytest.mark.parametrize("attempt", range(5))
def test_head_ends_it_when_nothing_more_comes(attempt):
    """The reader may go while the write to it is still under way: five races are five chances to miss it."""
    with Listener() as listener:
        netline, head = piped([NETLINE, *listener.filters], ["head", "-1"])
        told = netline.stderr.readline()
        assert told.startswith("netline: ready"), told
        listener.connect()
        line, _ = head.communicate(timeout=15)
        check_quiet_end(netline)
        assert parse_lines(line)[0]["destination"]["port"] == listener.port


def piped(argv, reader):
    netline = subprocess.Popen([str(arg) for arg in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    head = subprocess.Popen(reader, stdin=netline.stdout, stdout=subprocess.PIPE)
    netline.stdout.close()
    netline.stdout = None
    return netline, head


def check_quiet_end(netline):
    try:
        _, told = netline.communicate(timeout=2)
    except subprocess.TimeoutExpired:
        netline.kill()
        _, told = netline.communicate()
        pytest.fail(f"netline still ran 2 s after its reader had ended; stderr: {told}")
    assert netline.returncode == 0, told
    assert complaints(told) == []


def test_reader_that_never_read_is_missed_without_a_record():
    with Listener() as listener, Pipe() as pipe, agent_on(pipe, *listener.filters, agent_records=False) as agent:
        pipe.close_read_end()
        wait_until(lambda: agent.returncode is not None, 2, "netline to end")
        assert agent.returncode == 0
    assert complaints(agent.stderr_text) == []


def test_reader_killed_while_netline_waits_for_it():
    with Listener() as listener, Pipe() as pipe:
        with subprocess.Popen(["sleep", "60"], stdin=pipe.read_end) as reader, agent_on(pipe, *listener.filters) as agent:
            pipe.close_read_end()
            listener.connect(1000)
            wait_until(lambda: blocked_in(agent.pid, "write", "writev"), 10, "netline to wait for its reader")
            reader.kill()
            wait_until(lambda: agent.returncode is not None, 2, "netline to end")
            assert agent.returncode == 0
    assert complaints(agent.stderr_text) == []


# Other kinds of stdout

def test_regular_file(tmp_path):
    path = tmp_path / "records.jsonl"
    with Listener() as listener, path.open("wb") as file, Agent(*listener.filters, stdout=file) as agent:
        listener.connect(50)
        wait_until(lambda: path.read_bytes().count(b'"netline.tcp_connection"') == 50, 10, "50 records in the file")
        agent.stop()
    assert len(of_dataset(parse_lines(path.read_bytes()), "tcp_connection")) == 50


def test_file_that_grows_is_appended_to(tmp_path):
    path = tmp_path / "records.jsonl"
    for run in (1, 2):
        subprocess.run(f"exec {NETLINE} --count 1 --interval 0.05 nic_throughput >>{path}", shell=True, check=True, timeout=15)
        assert path.read_bytes().count(b"\n") == run


def test_disk_full():
    done = subprocess.run(f"exec {NETLINE} -q --interval 0.05 nic_throughput >/dev/full", shell=True, capture_output=True, text=True,
                          timeout=15, check=False)
    assert done.returncode == 1
    line, = done.stderr.splitlines()
    assert re.search(r"stdout.*No space left", line)


def test_closed_stdout():
    done = subprocess.run(f"exec {NETLINE} --interval 0.05 nic_throughput >&-", shell=True, capture_output=True, text=True,
                          timeout=15, check=False)
    assert done.returncode == 1
    line, = complaints(done.stderr)
    assert re.search(r"stdout.*closed", line)


def test_stdin_and_stderr_closed():
    done = subprocess.run(f"exec {NETLINE} --count 1 --interval 0.05 nic_throughput <&- 2>&-", shell=True, stdout=subprocess.PIPE,
                          timeout=15, check=False)
    assert done.returncode == 0
    assert len(parse_lines(done.stdout)) == 1


def test_terminal():
    master, slave = pty.openpty()
    try:
        settings = termios.tcgetattr(slave)
        settings[1] &= ~termios.OPOST  # else the terminal turns each newline into two characters
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        with Listener() as listener, Agent(*listener.filters, stdout=slave) as agent:
            listener.connect(20)
            data = b""
            while data.count(b'"netline.tcp_connection"') < 20 or not data.endswith(b"\n"):
                assert select.select([master], [], [], 10)[0], f"20 records on the terminal: {data[-300:]!r}"
                data += os.read(master, 1 << 16)
            agent.stop()
        while select.select([master], [], [], 0)[0]:
            data += os.read(master, 1 << 16)
    finally:
        os.close(master)
        os.close(slave)
    assert len(of_dataset(parse_lines(data), "tcp_connection")) == 20


@pytest.mark.parametrize("nonblocking", [0, os.O_NONBLOCK])
def test_flags_of_stdout_are_left_alone(nonblocking):
    """A program before us may have left O_NONBLOCK on: then a full pipe is EAGAIN, and still no reason to end or to lose."""
    with Listener() as listener, Pipe() as pipe:
        flags = fcntl.fcntl(pipe.write_end, fcntl.F_GETFL) | nonblocking
        fcntl.fcntl(pipe.write_end, fcntl.F_SETFL, flags)
        with Agent(*listener.filters, stdout=pipe.write_end) as agent:
            listener.connect(500)
            assert fcntl.fcntl(pipe.write_end, fcntl.F_GETFL) == flags
            pipe.drain()
            listener.connect(10)
            wait_until(lambda: pipe.text().count(b'"netline.tcp_connection"') == 510 or agent.returncode is not None, 10, "510 records")
            agent.stop()
            assert fcntl.fcntl(pipe.write_end, fcntl.F_GETFL) == flags
            pipe.__exit__()
            records = parse_lines(pipe.text())
    assert len(of_dataset(records, "tcp_connection")) == 510


def test_a_lone_event_is_out_at_once():
    delays = []
    with Listener() as listener, Pipe(1 << 16) as pipe, agent_on(pipe, *listener.filters, agent_records=False) as agent:
        for _ in range(11):
            start = time.monotonic()
            listener.connect()
            assert select.select([pipe.read_end], [], [], 5)[0], "no record within 5 s"
            line = os.read(pipe.read_end, 1 << 16)
            delays.append(time.monotonic() - start)
            assert line.endswith(b"\n") and line.count(b"\n") == 1
        pipe.drain()
        end(agent, pipe)
    assert statistics.median(delays) < 0.15 and max(delays) < 0.5, delays


# The end

@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_with_everything_written(sig):
    with Listener() as listener, Agent(*listener.filters) as agent:
        listener.connect(500)
        records = agent.stop(sig)
    assert len(of_dataset(records, "tcp_connection")) == 500
    counters = check_events(records)
    assert (counters["emitted"], counters["lost"]) == (500, 0)


def test_sigterm_with_a_stuck_reader():
    with Listener() as listener, Pipe() as pipe, agent_on(pipe, *listener.filters, agent_records=False) as agent:
        listener.connect(1000)
        wait_until(lambda: blocked_in(agent.pid, "write", "writev"), 10, "netline to wait for its reader")
        os.kill(agent.pid, signal.SIGTERM)
        start = time.monotonic()
        wait_until(lambda: agent.returncode is not None, 7, "netline to end")
        took = time.monotonic() - start
        whole = pipe.rest().count(b"\n")
        agent.stop(None, code=agent.returncode)
    assert agent.returncode in (0, 1) and 4 < took < 7, "the reader has 5 s"
    lost = re.search(r"(\d+) (?:records )?lost", agent.stderr_text)
    assert lost, agent.stderr_text
    assert 1000 - whole <= int(lost[1]) <= 1000, f"{whole} lines in the pipe; how far a write has come that never returned, nobody knows"


def test_sigpipe_is_ignored():
    with Listener() as listener, Agent(*listener.filters) as agent:
        assert int(status_of(agent.pid)["SigIgn"].strip(), 16) >> (signal.SIGPIPE - 1) & 1
        os.kill(agent.pid, signal.SIGPIPE)
        listener.connect()
        agent.wait_for(lambda records: of_dataset(records, "tcp_connection"))
        agent.stop()


def test_verbose_writes_only_records_to_stdout():
    with Listener() as listener, Agent("-v", *listener.filters) as agent:
        listener.connect(10)
        agent.wait_for(lambda records: len(of_dataset(records, "tcp_connection")) == 10)
        records = agent.stop()
    assert collections.Counter(map(dataset_of, records))["netline.tcp_connection"] == 10


def test_a_low_limit_of_locked_memory_is_no_obstacle():
    def limit():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))

    done = subprocess.run([NETLINE, "--count", "2", "--interval", "0.05", "nic_throughput"], capture_output=True, timeout=15,
                          check=False, preexec_fn=limit)
    assert done.returncode == 0, done.stderr
    assert len(parse_lines(done.stdout)) == 2
