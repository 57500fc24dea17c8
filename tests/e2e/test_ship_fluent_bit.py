# SPDX-License-Identifier: BSD-2-Clause
"""Fluent Bit by the recipes of contrib/fluent-bit, with a real netline: each record is in its data stream, once, unchanged, whatever fails."""
import contextlib
import datetime
import json
import os
import shutil
import signal
import subprocess
import threading

import pytest

from elastic import Elastic, assert_shipped
from harness import ROOT, SCALE, START_LIMIT, Agent, Namespace, dataset_of, wait_until
from outputs import Files, assert_delivered
from puppet import Traffic

pytestmark = pytest.mark.any_kernel

RECIPES = ROOT / "contrib/fluent-bit"
VERSION = "5.1.1"  # that the recipes were run with
BURST = 150 // SCALE
ODD = 'odd=%m{}$TAG $event[\'kind\'] \\n "event":{"id":"\t\u00e9\u20ac\U0001f40c\x7f\''  # what JSON, Lua and record accessors give a meaning to
FAULTS = (503, 502, 429, "busy", "cut", "unanswered")
REPEATS = 30  # seconds within which all is repeated


def program():
    for path in (os.environ.get("FLUENT_BIT"), shutil.which("fluent-bit"), "/opt/fluent-bit/bin/fluent-bit"):
        if path and os.path.exists(path):
            return path
    return pytest.skip(f"no fluent-bit here (not in Debian); recipes were run with version {VERSION}")


class FluentBit:
    """One by a recipe, of which paths and the port are changed, and the longest wait between repeats: below `folder` are log, run and state."""

    def __init__(self, ns, folder, recipe, elastic):
        self._ns, self._folder, self._program, self._process = ns, folder, program(), None
        self._recipe = folder / recipe
        for name in ("log", "run", "state"):
            (folder / name).mkdir()
        changes = {"/var/log/netline": folder / "log", "/run/fluent-bit": folder / "run", "/var/lib/fluent-bit": folder / "state",
                   "port: 9200": f"port: {elastic.port}", "scheduler.cap: 30": "scheduler.cap: 2"}
        for path in RECIPES.iterdir():
            text = path.read_text()
            for old, new in changes.items():
                text = text.replace(old, str(new))
            (folder / path.name).write_text(text)
        self.log, self.socket = folder / "log/netline.jsonl", folder / "run/netline.sock"

    def start(self, stdin=subprocess.DEVNULL):
        with open(self._folder / "stderr", "ab") as stderr:
            self._process = self._ns.popen([self._program, "-c", self._recipe], stdin=stdin, stdout=stderr, stderr=stderr)

    def told(self):
        return (self._folder / "stderr").read_text()[-3000:]

    def kill(self):
        self._process.kill()
        self._process.wait()

    def stop(self):
        self._process.terminate()
        self.wait()

    def wait(self):
        assert self._process.wait(30) == 0, self.told()


class Place:
    """A namespace with the stand-in, Fluent Bit, and `bursts` of traffic that is still to come, which netline is to watch alone."""

    def __init__(self, folder, recipe, bursts):
        self._folder, self._recipe, self._bursts = folder, recipe, bursts

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.ns = stack.enter_context(Namespace())
            self.elastic = stack.enter_context(Elastic(self.ns))
            for template in self.elastic.templates["_component_template"].values():  # the product keeps what is not mapped (dynamic: false)
                template["template"]["mappings"]["properties"]["event"]["properties"]["id"] = {"type": "keyword"}
            self.fluent_bit = FluentBit(self.ns, self._folder, self._recipe, self.elastic)
            self._traffic = [Traffic(stack.enter_context(Namespace()), BURST, max_bytes=4000) for _ in range(self._bursts)]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *args):
        self._stack.__exit__(*args)

    def agent(self, output, **kw):
        pids = ",".join(str(pid) for traffic in self._traffic for pid in traffic.pids)
        return Agent("-o", "stdout,agent=yes", "-o", output, "--ring-size", "16M", "--label", ODD, "--pid", pids,
                     "tcp_connection", "tcp_bytes", ns=self.ns, **kw)

    def burst(self):
        self._traffic.pop().run()

    @contextlib.contextmanager
    def bursting(self):
        thread = threading.Thread(target=self.burst)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def assert_all_came(self, records):
        """Their ids stand in the documents, too: Fluent Bit cannot leave them out."""
        assert {dataset_of(record) for record in records} >= {"netline.tcp_connection", "netline.tcp_bytes", "netline.agent_status"}
        self.elastic.wait_for(len(records), REPEATS, self.fluent_bit.told)
        for _, name, document in self.elastic.documents:
            assert document["event"].pop("id", None) == name
        assert_shipped(self.elastic, records)


def rotate(agent, files):
    """Once there is something in the file: an empty one is not rotated."""
    n = len(files.rotated())

    def has_rotated():
        os.kill(agent.pid, signal.SIGHUP)
        return len(files.rotated()) > n

    wait_until(has_rotated, 10, "a rotation")


def test_every_record(tmp_path):
    """One of each type; numbers that a double does not hold; nanoseconds that are others when they went through a double."""
    records = [json.loads(path.read_text()) for path in sorted((ROOT / "schema/examples").glob("*.json"))]
    status = next(record for record in records if dataset_of(record) == "netline.agent_status")
    for number in (2**53 + 1, 2**63 - 1):
        status = {**status, "event": {**status["event"], "sequence": number}}
        records.append(status)
    for number in range(1, 1000):
        day = datetime.date(1999, 12, 1) + datetime.timedelta(number * 13)
        records.append({**status, "@timestamp": f"{day}T23:59:59.{number * 998001:09}Z", "event": {**status["event"], "sequence": number}})
    with Place(tmp_path, "stdin.yaml", 0) as place:
        lines = b"".join(json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for record in records)
        (tmp_path / "lines").write_bytes(lines)
        place.fluent_bit.start(stdin=place.ns.popen(["cat", tmp_path / "lines"], stdout=subprocess.PIPE).stdout)
        place.fluent_bit.wait()
        place.assert_all_came(records)


def test_file(tmp_path):
    """By size and by SIGHUP, under traffic."""
    with Place(tmp_path, "file.yaml", 4) as place:
        files = Files(place.fluent_bit.log.parent)
        with place.agent(f"file:{files.path},rotate-size=64K") as agent:
            place.fluent_bit.start()
            for _ in range(4):
                with place.bursting():
                    rotate(agent, files)
            everything = agent.stop()
        assert len(files.rotated()) > 8
        assert assert_delivered(files.records(), everything, f"file:{files.path}") == 0
        place.assert_all_came(everything)
        assert not place.elastic.conflicts  # no file is read twice
        place.fluent_bit.stop()


def test_socket(tmp_path):
    with Place(tmp_path, "socket.yaml", 2) as place:
        place.fluent_bit.start()
        wait_until(place.fluent_bit.socket.exists, START_LIMIT, place.fluent_bit.told)
        with place.agent(f"unix-connect:{place.fluent_bit.socket},queue=64M") as agent:
            place.burst()
            place.burst()
            everything = agent.stop()
        place.assert_all_came(everything)
        place.fluent_bit.stop()


def test_stdin(tmp_path):
    """It ends with netline, when all is delivered."""
    with Place(tmp_path, "stdin.yaml", 2) as place:
        files = Files(place.fluent_bit.log.parent)
        reader, writer = os.pipe()
        with place.agent(f"file:{files.path},queue=64M", stdout=writer) as agent:
            place.fluent_bit.start(stdin=reader)
            os.close(reader)
            os.close(writer)
            place.burst()
            place.burst()
            agent.stop()
        place.fluent_bit.wait()
        place.assert_all_came(files.records())


def test_faults(tmp_path):
    """Of Elasticsearch, one after the other."""
    with Place(tmp_path, "file.yaml", len(FAULTS)) as place:
        files = Files(place.fluent_bit.log.parent)
        with place.agent(f"file:{files.path}") as agent:
            place.fluent_bit.start()
            for fault in FAULTS:
                place.elastic.fault = fault
                place.burst()
                wait_until(lambda: place.elastic.met[fault] > 2, 20, lambda: f"{fault}; {place.fluent_bit.told()}")
            place.elastic.fault = None
            everything = agent.stop()
        place.assert_all_came(everything)
        assert place.elastic.conflicts
        place.fluent_bit.stop()


def test_killed(tmp_path):
    """And started again; files are rotated while it is away, and nothing is delivered meanwhile."""
    with Place(tmp_path, "file.yaml", 6) as place:
        files = Files(place.fluent_bit.log.parent)
        with place.agent(f"file:{files.path}") as agent:
            for number in range(3):
                place.fluent_bit.start()
                place.elastic.fault = 503 if number == 1 else None
                with place.bursting():
                    n = sum(place.elastic.met.values()) + len(place.elastic.documents)
                    wait_until(lambda: sum(place.elastic.met.values()) + len(place.elastic.documents) > n, 20, place.fluent_bit.told)
                    place.fluent_bit.kill()
                rotate(agent, files)
                place.burst()
                rotate(agent, files)
            everything = agent.stop()
        place.fluent_bit.start()
        place.assert_all_came(everything)
        assert place.elastic.conflicts < 2 * len(everything)  # it goes on where it was, and not at the beginning of each file
        place.fluent_bit.stop()
