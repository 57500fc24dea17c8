# SPDX-License-Identifier: BSD-2-Clause
"""What only a machine of its own can have: no tracefs, and a kernel that is locked down (the last test: there is no way back)."""
import contextlib
import json
import pathlib
import subprocess

import pytest

from harness import NETLINE

LOCKDOWN = pathlib.Path("/sys/kernel/security/lockdown")
TRACEFS = "/sys/kernel/tracing"


def netline(*args):
    return subprocess.run([NETLINE, *args], capture_output=True, text=True, timeout=60, check=False)


@contextlib.contextmanager
def tracefs(how):
    change = {"missing": ["umount", TRACEFS], "read-only": ["mount", "-o", "remount,ro", TRACEFS]}[how]
    back = {"missing": ["mount", "-t", "tracefs", "tracefs", TRACEFS], "read-only": ["mount", "-o", "remount,rw", TRACEFS]}[how]
    subprocess.run(change, check=True)
    try:
        yield
    finally:
        subprocess.run(back, check=True)


@pytest.mark.parametrize("how", ["missing", "read-only"])
def test_tracefs_is_not_needed(how):
    """By no way, and for no probe."""
    with tracefs(how):
        for way in ("fentry", "kprobe", "tracepoint"):
            offered = [each["name"] for each in json.loads(netline("list", "--json", "--attach", way).stdout) if "way" in each]
            assert "tcp_connection" in offered
            done = netline("--attach", way, "--duration", "0.1", *offered)
            assert done.returncode == 0 and f"tcp_connection ({way})" in done.stderr, done.stderr


def test_integrity_lockdown_lets_everything_run():
    LOCKDOWN.write_text("integrity")
    done = netline("--duration", "0.1")
    assert done.returncode == 0, done.stderr


def test_confidentiality_lockdown_is_told():
    LOCKDOWN.write_text("confidentiality")
    done = netline()
    assert (done.returncode, done.stdout) == (3, "")
    line, = done.stderr.splitlines()
    assert "lockdown=confidentiality" in line and "lockdown=integrity" in line
