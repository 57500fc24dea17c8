# SPDX-License-Identifier: BSD-2-Clause
"""Reads the socket table of a running netline: its map `sockets`."""
from maps import dump

ROLES = ["unknown", "client", "server"]  # enum connection_role
LISTENING = 3  # of enum socket_phase


def entries(agent):
    """The table's rows but for listeners: start_ns, role, phase, pid, tid, process_name, thread_name."""
    rows = []
    for element in dump(agent, "sockets"):
        if "formatted" not in element:  # gone since its key was read
            continue
        value = element["formatted"]["value"]
        owner = value["owner"]
        rows.append({"start_ns": value["start_ns"], "role": ROLES[value["role"]], "phase": value["phase"],
                     "pid": owner["pid"], "tid": owner["tid"],
                     "process_name": _text(owner["process_name"]), "thread_name": _text(owner["thread_name"])})
    return [row for row in rows if row["phase"] != LISTENING]


def owned_by(agent, pids):
    return [row for row in entries(agent) if row["pid"] in pids]


def accept_queue_length(agent):
    return len(dump(agent, "accept_queue"))


def _text(value):
    return value if isinstance(value, str) else bytes(map(int, value)).split(b"\0")[0].decode()
