# SPDX-License-Identifier: BSD-2-Clause
"""What the schema tests share: where things are, and how to walk a schema and a record."""
import copy
import functools
import json
import os
import pathlib
import re
import subprocess

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "schema"
NETLINE = pathlib.Path(os.environ.get("NETLINE", ROOT / "build" / "netline"))
BY_HAND = {"config.json"}  # schemas in schema/ that are not of a record
TIME_LIMIT = 30


def _records_of_headers():
    """Record name by header: those that define a `struct record NAME_record`."""
    found = {}
    for header in sorted(SCHEMA.glob("*.h")):
        for name in re.findall(r"^static const struct record (\w+)_record = ", header.read_text(), re.M):
            found[name] = header
    return found


HEADERS = _records_of_headers()
RECORDS = sorted(HEADERS)


@functools.lru_cache(maxsize=None)
def _load(path):
    return json.loads(path.read_text())


def schema(record):
    return _load(SCHEMA / f"{record}.json")


def example(record):
    return copy.deepcopy(_load(SCHEMA / "examples" / f"{record}.json"))


def component(record):
    return _load(SCHEMA / "elasticsearch" / f"component-{record}.json")


def index_template(record):
    return _load(SCHEMA / "elasticsearch" / f"index-{record}.json")


def netline(*args):
    """Output of the binary; a missing binary is a failure, not a skip."""
    assert NETLINE.exists(), f"{NETLINE} is missing: build it, or set NETLINE"
    done = subprocess.run([NETLINE, *args], capture_output=True, timeout=TIME_LIMIT, check=False)
    assert done.returncode == 0, f"netline {' '.join(map(str, args))}: {done.returncode}: {done.stderr.decode()}"
    return done.stdout


def validator(record):
    return jsonschema.Draft202012Validator(schema(record), format_checker=jsonschema.draft202012_format_checker)


def nodes(node, path=()):
    """All (path, node) of a schema below its root, objects and leaves, in order."""
    for key, child in node.get("properties", {}).items():
        yield (*path, key), child
        yield from nodes(child, (*path, key))


def leaves(node):
    """Dotted path -> leaf. `labels` counts as a leaf: its keys are the user's."""
    return {".".join(path): child for path, child in nodes(node) if "properties" not in child}


def groups(node):
    """Path -> object, the root included."""
    return {(): node, **{path: child for path, child in nodes(node) if "properties" in child}}


def required_leaves(node, path=()):
    """Paths that every record has: required all the way down."""
    found = set()
    for key in node.get("required", []):
        child = node["properties"][key]
        if "properties" in child:
            found |= required_leaves(child, (*path, key))
        else:
            found.add(".".join((*path, key)))
    return found


def paths_of(record, path=()):
    """Dotted path -> value of a record; labels are one value."""
    found = {}
    for key, value in record.items():
        if isinstance(value, dict) and (*path, key) != ("labels",):
            found.update(paths_of(value, (*path, key)))
        else:
            found[".".join((*path, key))] = value
    return found


def at(record, path):
    for key in path:
        record = record[key]
    return record


def changed(record, path, value):
    """A copy with another value at a path; groups on the way are made."""
    new = copy.deepcopy(record)
    group = new
    for key in path[:-1]:
        group = group.setdefault(key, {})
    group[path[-1]] = value
    return new


def without(record, path):
    new = copy.deepcopy(record)
    del at(new, path[:-1])[path[-1]]
    return new


SAMPLES = {
    "identifier": "18446744073709551615",
    "Community ID": "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
    "container id": "0123456789abcdef" * 4,
    "IP address": "2001:db8::1",
    "RFC 3339 UTC, nanoseconds": "2026-11-22T22:11:00.000000001Z",
}


def sample(path, leaf):
    """A valid value for a leaf."""
    if "const" in leaf:
        return leaf["const"]
    if "enum" in leaf:
        return leaf["enum"][-1]
    if path == "labels":
        return {"site": "fra-1"}
    if path == "agent.ephemeral_id":
        return "0123456789abcdef"
    if leaf["type"] == "array":
        return ["x"] if leaf["items"]["type"] == "string" else [1, 2]
    return {"integer": 1, "number": 1.5, "boolean": True}.get(leaf["type"]) or SAMPLES.get(leaf["unit"], "x")


def full(record):
    """A record with every leaf of the schema, which no real record need have."""
    new = {}
    for path, leaf in leaves(schema(record)).items():
        new = changed(new, path.split("."), sample(path, leaf))
    return new


def specimens(record):
    """The committed example and the full record: what mutants are made of."""
    return {"example": example(record), "full": full(record)}
