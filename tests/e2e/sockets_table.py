# SPDX-License-Identifier: BSD-2-Clause
"""Reads the socket table of a running netline: its map `sockets`, by bpftool."""
import json
import pathlib
import re
import subprocess

ROLES = ["unknown", "client", "server"]  # enum connection_role


def _bpftool(*words):
    done = subprocess.run(["bpftool", "-j", "map", *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"bpftool map {words}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def _map_id(agent):
    """Of this netline's map: others may run."""
    for path in pathlib.Path(f"/proc/{agent.pid}/fdinfo").iterdir():
        found = re.search(r"^map_id:\s*(\d+)", path.read_text(encoding="ascii"), re.M)
        if found and _bpftool("show", "id", found[1]).get("name") == "sockets":
            return found[1]
    raise AssertionError("netline has no map `sockets`")


def entries(agent):
    """The table's rows: start_ns, role, phase, pid, tid, process_name, thread_name."""
    rows = []
    for element in _bpftool("dump", "id", _map_id(agent)):
        if "formatted" not in element:  # gone since its key was read
            continue
        value = element["formatted"]["value"]
        owner = value["owner"]
        rows.append({"start_ns": value["start_ns"], "role": ROLES[value["role"]], "phase": value["phase"],
                     "pid": owner["pid"], "tid": owner["tid"],
                     "process_name": _text(owner["process_name"]), "thread_name": _text(owner["thread_name"])})
    return rows


def owned_by(agent, pids):
    return [row for row in entries(agent) if row["pid"] in pids]


def _text(value):
    return value if isinstance(value, str) else bytes(map(int, value)).split(b"\0")[0].decode()
