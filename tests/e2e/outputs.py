# SPDX-License-Identifier: BSD-2-Clause
"""What an output has delivered, held against what the run has made of each dataset and against what netline counts as lost.

The runs have stdout beside the output under test: it blocks, so it loses nothing, and tells what there was.
"""
import collections
import json
import os
import re
import threading

from harness import Agent, dataset_of, of_dataset, validate

ROTATED = r"-\d{8}-\d{6}\.\d{6}Z\.jsonl(\.gz)?"


def output_agent(*args, **kw):
    """With `-o` of the test and stdout. The ring is large: Python reads slowly."""
    return Agent("-o", "stdout,agent=yes", "--ring-size", "16M", *args, **kw)


def lines_of(data):
    """Whole lines, each a valid record."""
    assert not data or data.endswith(b"\n"), f"torn: {data[-300:]!r}"
    records = [json.loads(line) for line in data.splitlines()]
    for record in records:
        validate(record)
    return records


def status_of(records, name):
    """The output's counters at the end."""
    for record in reversed(of_dataset(records, "agent_status")):
        if record["netline"].get("output", {}).get("name") == name:
            return record["netline"]["output"]
    raise AssertionError(f"no agent_status of output {name}")


def losses_of(records, name):
    """{(dataset, reason): number} that netline tells of the output."""
    lost = {}
    for record in of_dataset(records, "agent_lost"):
        told = record["netline"]["lost"]
        if told.get("output") == name:
            lost[told["dataset"], record["event"]["reason"]] = told["count_total"]
    return lost


def sequences_of(records):
    found = collections.defaultdict(list)
    for record in records:
        found[dataset_of(record)].append(record["event"]["sequence"])
    return found


def assert_delivered(got, everything, name, taken=None, missing=0):
    """
    `got` are the records that came out of the output in their order, `everything` those of the run. Nothing is doubled, each dataset is in
    order, and what is not there was counted as lost; a reader that was killed may miss `missing` more. Returns how many were lost.
    """
    made, came = sequences_of(everything), sequences_of(got)
    lost = collections.Counter()
    for (dataset, _), n in losses_of(everything, name).items():
        lost[dataset] += n
    absent = 0
    for dataset, sequences in made.items():
        if taken and dataset.removeprefix("netline.") not in taken:
            assert dataset not in came
            continue
        its = came.get(dataset, [])
        assert its == sorted(set(its)), f"{dataset} is doubled, or out of order"
        gone = len(set(sequences) - set(its))
        if dataset in ("netline.agent_lost", "netline.agent_status", "netline.agent_probe"):  # the last ones are after the last count
            continue
        assert gone >= lost[dataset], f"{dataset}: {gone} are not there, {lost[dataset]} are said to be lost"
        absent += gone - lost[dataset]
    assert absent <= missing, f"{absent} are not there, and not counted as lost"
    return sum(lost.values())


def assert_balance(records, name):
    counters = status_of(records, name)
    assert counters["emitted"] == counters["delivered"] + counters["queued"] + counters["lost"], counters
    return counters


class Files:
    """The file of an output, and its rotated ones."""

    def __init__(self, folder, name="netline.jsonl"):
        self.folder, self.path = folder, folder / name

    def rotated(self):
        return sorted(path for path in self.folder.iterdir() if re.fullmatch(re.escape(self.path.stem) + ROTATED, path.name))

    def all(self):
        return self.rotated() + ([self.path] if self.path.exists() else [])

    def records(self):
        return [record for path in self.all() for record in lines_of(path.read_bytes())]

    def strangers(self):
        return {path.name for path in self.folder.iterdir()} - {path.name for path in self.all()}


class Follower:
    """Reads a file as tail -F does: to its end, and on in the new one when the name has another file."""

    def __init__(self, path):
        self.path, self.data, self.files = path, bytearray(), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self):
        while not self.path.exists():
            if self._stop.wait(0.001):
                return
        file, self.files = open(self.path, "rb"), 1
        while True:
            stopping = self._stop.is_set()
            chunk = file.read()
            self.data += chunk
            if chunk:
                continue
            new = self._new(file)
            if new:
                self.data += file.read()  # what came before the rename
                file.close()
                file = new
                self.files += 1
            elif stopping:
                file.close()
                return
            else:
                self._stop.wait(0.001)

    def _new(self, file):
        """Another file that has the name by now."""
        try:
            new = open(self.path, "rb")
        except FileNotFoundError:
            return None
        if os.path.sameopenfile(new.fileno(), file.fileno()):
            new.close()
            return None
        return new

    def stop(self):
        self._stop.set()
        self._thread.join()
        return lines_of(bytes(self.data))
