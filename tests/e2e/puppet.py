# SPDX-License-Identifier: BSD-2-Clause
"""Drives the traffic programs: processes that do exactly what a test tells them, and tell what they did.

Answers are dicts: result (negative errno, descriptor or 0), errno (its name), pid, tid, thread_name, the stamps
start, end (CLOCK_MONOTONIC), start_real, end_real (CLOCK_REALTIME), sent and received (bytes, by this command), and of sockets
cookie, local, local_port, and with a peer remote, remote_port, rtt_us.
"""
import json
import subprocess

from harness import program


class Answer(dict):
    __getattr__ = dict.__getitem__

    @property
    def fd(self):
        assert self["result"] >= 0, self
        return self["result"]


class Puppet:
    """One process of tests/e2e/puppet.c in a namespace. `enter` runs in the child before it starts (to enter a cgroup)."""

    def __init__(self, ns, name="puppet", enter=None):
        self._process = ns.popen([program("puppet"), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                 bufsize=1, preexec_fn=enter)
        self.ns, self.name = ns, name
        self.pid = self.answer().pid
        assert self.pid == self._process.pid

    def order(self, *words):
        """Gives a command without waiting for its answer."""
        self._process.stdin.write(" ".join(map(str, words)) + "\n")

    def answer(self):
        line = self._process.stdout.readline()
        assert line, f"puppet {self.name} ended: {self._process.wait()}"
        return Answer(json.loads(line))

    def do(self, *words):
        self.order(*words)
        return self.answer()

    def must(self, *words):
        answer = self.do(*words)
        assert answer.result >= 0, f"{words}: {answer}"
        return answer

    def socket(self, family=4, *, nonblock=False, port=None, ip=None):
        fd = self.must("socket", family, *(["nonblock"] if nonblock else [])).fd
        if port is not None:
            self.must("bind", fd, ip or ("0.0.0.0" if family == 4 else "::"), port)
        return fd

    def listen(self, family=4, port=0, backlog=128):
        """A new listener: (descriptor, port)."""
        fd = self.socket(family, port=port)
        return fd, self.must("listen", fd, backlog).local_port

    def connect(self, ip, port, family=None, local_port=None, fd=None):
        """Connects and returns the answer, with the socket's descriptor as `socket`."""
        if fd is None:
            fd = self.socket(family or (6 if ":" in ip else 4), port=local_port)
        answer = self.do("connect", fd, ip, port)
        answer["socket"] = fd
        return answer

    def accept(self, listener, how="accept4"):
        return self.must("accept", listener, how)

    def close(self, fd):
        self.must("close", fd)


class Traffic:
    """tests/e2e/traffic.c: many connections. The processes exist when this returns; run() makes the connections.

    With max_bytes they move bytes, and an answer is about the whole of a connection.
    """

    def __init__(self, ns, connections, clients=2, threads=4, servers=2, max_bytes=0):
        self._process = ns.popen([program("traffic"), connections, clients, threads, servers, max_bytes],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pids = json.loads(self._process.stdout.readline())["pids"]

    def run(self):
        """(connects, accepts): an answer for each."""
        out, _ = self._process.communicate("go\n")
        assert self._process.returncode == 0, f"traffic: {self._process.returncode}"
        answers = [Answer(json.loads(line)) for line in out.splitlines()]
        return [a for a in answers if a.op == "connect"], [a for a in answers if a.op == "accept"]


class Idle:
    """tests/e2e/idle.c: so many open connections over loopback, which exist when this returns."""

    def __init__(self, ns, connections, processes):
        self._process = ns.popen([program("idle"), connections, processes], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.pids = self._answer().pids

    def _answer(self):
        line = self._process.stdout.readline()
        assert line, f"idle ended: {self._process.wait()}"
        return Answer(json.loads(line))

    def touch(self, step, size):
        """Every step-th connection of each process moves so many bytes; the answer has the sums `sent` and `received`."""
        self._process.stdin.write(f"{step} {size}\n")
        return self._answer()
