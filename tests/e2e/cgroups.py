# SPDX-License-Identifier: BSD-2-Clause
"""Cgroups of a test's own."""
import itertools
import os
import pathlib

import pytest

from harness import Namespace


def cgroup2_mount():
    for line in pathlib.Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, path, kind, *_ = line.split()
        if kind == "cgroup2":
            return pathlib.Path(path)
    pytest.skip("no cgroup v2 is mounted")


class Cgroup:
    """A cgroup of our own with one below it; `enter` and `enter_child` put the calling process in."""

    _numbers = itertools.count(1)

    def __enter__(self):
        self.path = cgroup2_mount() / f"nl-{os.getpid()}-{next(self._numbers)}"
        self.child = self.path / "child"
        self.child.mkdir(parents=True)
        self._more = []
        self.id, self.child_id = self.path.stat().st_ino, self.child.stat().st_ino
        return self

    def __exit__(self, *_):
        for path in [*reversed(self._more), self.child]:
            path.rmdir()
        self.path.rmdir()

    def enter(self):
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def add(self, name):
        """Another one below it, made now; returns what puts the calling process in."""
        path = self.path / name
        path.mkdir()
        self._more.append(path)
        return lambda: (path / "cgroup.procs").write_text(str(os.getpid()))

    def enter_child(self):
        (self.child / "cgroup.procs").write_text(str(os.getpid()))


class Place(Namespace):
    """A namespace whose processes have a cgroup, too: what else the machine does is left out of the records."""

    def __init__(self, cgroup):
        super().__init__()
        self._procs = cgroup.path / "cgroup.procs"

    def _inside(self, argv):
        return ["sh", "-c", 'echo $$ > "$0"; exec "$@"', str(self._procs), *super()._inside(argv)]
