# SPDX-License-Identifier: BSD-2-Clause
"""Looks into the BPF maps of a running netline, by bpftool."""
import json
import pathlib
import re
import subprocess


def _bpftool(*words):
    done = subprocess.run(["bpftool", "-j", *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"bpftool {words}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def _maps(agent):
    """This netline's maps: {name: id}. Others may run."""
    found = {}
    for path in pathlib.Path(f"/proc/{agent.pid}/fdinfo").iterdir():
        match = re.search(r"^map_id:\s*(\d+)", path.read_text(encoding="ascii"), re.M)
        if match:
            found[_bpftool("map", "show", "id", match[1]).get("name")] = match[1]
    return found


def dump(agent, name):
    """All elements, as bpftool has them."""
    return _bpftool("map", "dump", "id", _maps(agent)[name])
