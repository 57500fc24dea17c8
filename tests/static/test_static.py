# SPDX-License-Identifier: BSD-2-Clause
"""The static binary needs nothing but the kernel: tried in a Debian 11 root without any of its libraries."""
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "tests"))

from debian import KEYRING, mirror  # noqa: E402

BINARY = TOP / "build/static/netline"
ROOT = TOP / "build/debian11"


@pytest.fixture(scope="module")
def root():
    if not (ROOT / "etc/debian_version").exists() or not (ROOT / "complete").exists():
        subprocess.run(["rm", "-rf", "--one-file-system", ROOT], check=True)
        made = subprocess.run(["debootstrap", "--variant=minbase", f"--keyring={KEYRING}", "bullseye", ROOT, mirror()],
                              capture_output=True, text=True)
        assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
        (ROOT / "complete").touch()
    subprocess.run(["install", BINARY, ROOT / "usr/local/bin/netline"], check=True)
    return ROOT


def in_root(root, command):
    """Runs a shell command in the root, in a mount namespace of its own, so that no mount is left behind."""
    script = f'mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && exec chroot "$0" sh -c "$1"'
    return subprocess.run(["unshare", "--mount", "sh", "-c", script, root, command], capture_output=True, text=True, timeout=60)


def test_is_static():
    told = subprocess.run(["ldd", BINARY], capture_output=True, text=True)
    assert "not a dynamic executable" in told.stderr + told.stdout


def test_runs_on_debian_11(root):
    assert (root / "etc/debian_version").read_text().startswith("11")
    libraries = [path.name for path in (root / "usr/lib").rglob("*.so*")]
    assert not [name for name in libraries if re.match(r"lib(bpf|uv|jansson|elf)\b", name)]
    ran = in_root(root, "netline --count 2 nic_throughput --interval 0.1")
    assert ran.returncode == 0, ran.stderr
    records = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [record["event"]["dataset"] for record in records] == ["netline.nic_throughput"] * 2
    assert "ready: nic_throughput" in ran.stderr


def test_all_probes_attach_on_debian_11(root):
    ran = in_root(root, "netline list --json")
    assert ran.returncode == 0, ran.stderr
    assert all("way" in probe for probe in json.loads(ran.stdout)), ran.stdout
