# SPDX-License-Identifier: BSD-2-Clause
"""Stand-ins for shippers that cannot be run here: how they find and read files and sockets, as their documentation and sources tell it.

They do nothing on their own: a test says when they look and when they read.
"""
import contextlib
import glob
import http.client
import itertools
import json
import os
import socket
import threading

from elastic import Elastic, assert_shipped
from harness import MAX_LINE, ROOT, Namespace, of_dataset, wait_until
import outputs
from puppet import Traffic

EXAMPLES = [json.loads(path.read_text()) for path in sorted((ROOT / "schema/examples").glob("*.json"))]
CONNECTIONS = 300


def assert_documented(configuration, documented, path=""):
    """Each option is one of the documented, by its dotted path, and its value is of that type, or one of these values."""
    for key, value in configuration.items():
        name = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict) and name not in documented:
            assert_documented(value, documented, name)
            continue
        assert name in documented, f"{name} is no documented option"
        kind = documented[name]
        fits = value in kind if isinstance(kind, tuple) else type(value) is kind  # pylint: disable=unidiomatic-typecheck
        assert fits, f"{name}: {value!r} is not {kind}"


class Tail:
    """Finds files by patterns, keeps them open, whatever their names become, and reads whole lines of so many bytes at most, from the oldest on.

    `identify(data)` is what tells files apart: of their content's beginning, or None while there is not enough of it.
    """

    def __init__(self, patterns, identify, max_line):
        self._patterns, self._identify, self._max_line = patterns, identify, max_line
        self._open, self._rest, self.discarded = {}, {}, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in self._open.values():
            file.close()

    def look(self):
        """What the shipper does every few seconds."""
        found = []
        for path in itertools.chain(*map(glob.glob, self._patterns)):
            with contextlib.suppress(FileNotFoundError):  # renamed since
                found.append(open(path, "rb"))
        for file in sorted(found, key=lambda file: os.fstat(file.fileno()).st_ctime_ns):
            identity = self._identify(os.pread(file.fileno(), self._max_line, 0))
            if identity is None or identity in self._open:
                file.close()
            else:
                self._open[identity], self._rest[identity] = file, b""

    def read(self):
        """The lines that have come since."""
        got = []
        for identity, file in self._open.items():
            *lines, self._rest[identity] = (self._rest[identity] + file.read()).split(b"\n")
            got += [line for line in lines if len(line) <= self._max_line]
            self.discarded += sum(len(line) > self._max_line for line in lines)
        return got


class Listener:
    """Binds a path, takes one connection, and reads whole lines of so many bytes at most, until the other end closes it."""

    def __init__(self, path, max_line):
        self._path, self._max_line = path, max_line
        self.lines, self.discarded, self.ended = [], 0, False
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._read)

    def __enter__(self):
        self._socket.listen()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        os.unlink(self._path)

    def _read(self):
        try:
            self._socket, listener = self._socket.accept()[0], self._socket
        except OSError:  # nobody has connected
            return
        with listener, self._socket.makefile("rb") as stream:
            for line in stream:
                if len(line) - 1 > self._max_line:
                    self.discarded += 1
                else:
                    self.lines.append(line.removesuffix(b"\n"))
        self.ended = True


def assert_arrives(records, lines, processed):
    """What a shipper makes of each line, (index, id, document), is taken, and is each of the records, once and unchanged."""
    body = b"".join(json.dumps(part).encode() + b"\n" for index, name, document in map(processed, lines)
                    for part in ({"create": {"_index": index, "_id": name}}, document))
    with Elastic() as elastic:
        connection = http.client.HTTPConnection("127.0.0.1", elastic.port, timeout=20)
        connection.request("POST", "/_bulk", body, {"Content-Type": "application/x-ndjson"})
        answer = json.load(connection.getresponse())
        connection.close()
        assert not answer["errors"], elastic.findings[:5]
        assert_shipped(elastic, records)


def assert_examples_arrive(processed):
    assert_arrives(EXAMPLES, map(json.dumps, EXAMPLES), processed)


def read_rotated(folder, patterns, identify, max_line):
    """(records, lines): what is in netline's files, and what a reader of these names has of them. They are rotated as fast as can be, and it looks seldom."""
    files = outputs.Files(folder)
    name = f"file:{files.path}"
    with Namespace() as ns, Tail([str(folder / pattern) for pattern in patterns], identify, max_line) as reader:
        with outputs.output_agent("-o", f"{name},rotate-size=64K", "tcp_connection", "nic_throughput", "-i", "0.2", ns=ns) as agent:
            wait_until(files.path.exists, 10, "the file")
            reader.look()
            lines = []
            for _ in range(2):
                Traffic(ns, CONNECTIONS).run()
                lines += reader.read()
                reader.look()
            everything = agent.stop()
        reader.look()
        lines += reader.read()
    records = files.records()
    assert len(files.rotated()) > 5 and not reader.discarded
    assert outputs.assert_delivered(records, everything, name) == 0
    assert len(of_dataset(records, "tcp_connection")) >= 4 * CONNECTIONS
    return records, lines


def read_socket(path, max_line):
    """(records, lines) of a run: netline is there before the listener is, and connects again."""
    assert max_line >= MAX_LINE
    name = f"unix-connect:{path}"
    with Namespace() as ns, outputs.output_agent("-o", name, "tcp_connection", "tcp_bytes", "-i", "0.2", ns=ns) as agent, Listener(path, max_line) as reader:
        Traffic(ns, CONNECTIONS, max_bytes=10_000).run()
        wait_until(lambda: reader.lines, 20, "the connection")
        everything = agent.stop()
        wait_until(lambda: reader.ended, 20, "the end")
    assert not reader.discarded
    records = outputs.lines_of(b"".join(line + b"\n" for line in reader.lines))
    assert outputs.assert_delivered(records, everything, name) == 0
    assert len(of_dataset(records, "tcp_connection")) >= 2 * CONNECTIONS and of_dataset(records, "tcp_bytes")
    return records, reader.lines
