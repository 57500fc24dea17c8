# SPDX-License-Identifier: BSD-2-Clause
"""Runs of very many records: counted as they come, and what is still under way in netline's maps afterwards."""
import collections
import json
import os
import threading

from harness import validate
from maps import dump

MIB = 1 << 20


class Counted:
    """netline's records from a pipe, counted by `patterns` {name: bytes}: there are too many to look at each. Some, and all about netline itself, are kept."""

    def __init__(self, patterns):
        reader, self.writer = os.pipe()
        self._file, self._patterns = os.fdopen(reader, "rb", 0), patterns
        self.counts, self._kept, self._some = collections.Counter(), [], []
        self._thread = threading.Thread(target=self._work)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.close()
        self._thread.join()
        self._file.close()

    def close(self):
        """What the caller has of the writing end."""
        if self.writer is not None:
            os.close(self.writer)
        self.writer = None

    def _work(self):
        rest = b""
        while chunk := self._file.read(MIB):
            lines, _, rest = (rest + chunk).rpartition(b"\n")
            left = lines.count(b"\n") + bool(lines)
            for name, pattern in self._patterns.items():
                found = lines.count(pattern) if left else 0
                self.counts[name], left = self.counts[name] + found, left - found
            if left:
                self._kept += [line for line in lines.split(b"\n") if b'"netline.agent_' in line]
            self._some.append(lines.split(b"\n", 1)[0])

    def kept(self):
        """When netline has ended: all records about itself. These, and some of the others, are valid."""
        for line in self._some:
            if line:
                _parse(line)
        return [_parse(line) for line in self._kept]


def _parse(line):
    record = json.loads(line)
    validate(record)
    return record


def under_way(agent):
    """How many packets have a place in a delay analysis's map."""
    return sum(rank != 0 for element in dump(agent, "trips") for rank in element["formatted"]["value"]["rank"])
