# SPDX-License-Identifier: BSD-2-Clause
"""Every end-to-end test: root, a time limit, and nothing left behind."""
import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness  # noqa: E402

TIME_LIMIT = 60 * harness.SCALE


def pytest_configure(config):
    config.addinivalue_line("markers", "any_kernel: about netline in user space: not run on other kernels")
    config.addinivalue_line("markers", "any_way: about programs that are the same in every way to attach: one way is enough on a kernel")


def pytest_collection_finish(session):
    if session.items and os.geteuid():
        pytest.exit("the end-to-end tests load BPF programs and make network namespaces: run them as root", returncode=1)
    if session.items and not session.config.option.collectonly and not harness.NETLINE.exists():
        pytest.exit(f"{harness.NETLINE} is missing: build it, or set NETLINE", returncode=1)


def _too_long(_signal, _frame):
    raise AssertionError(f"the test took longer than {TIME_LIMIT} s")


def _children():
    """Processes whose parent we are: {pid: name}."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        if int(rest[1]) == os.getpid():
            found[int(path.parent.name)] = name
    return found


def _namespaces():
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [name.split()[0] for name in names if name.startswith(f"nl-{os.getpid()}-")]


@pytest.fixture(autouse=True)
def guarded():
    before = _children()
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(TIME_LIMIT)
    yield
    signal.alarm(0)
    names, children = _namespaces(), {pid: name for pid, name in _children().items() if pid not in before}
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=False)
    assert not names and not children, f"left behind: namespaces {names}, processes {children}"
