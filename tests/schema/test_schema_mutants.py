# SPDX-License-Identifier: BSD-2-Clause
"""What is not a record must not validate: one change to a valid one, and the schema says no."""
import pytest

import contract
from contract import RECORDS, changed, without
from test_schema_shape import ENVELOPE, MUST_HAVE

pytestmark = pytest.mark.parametrize("record", RECORDS)

OTHERS = {  # JSON type -> values, of which only those of the leaf's own type may pass
    "null": [None], "boolean": [True, False], "integer": [7], "number": [7.5], "string": ["surprise"],
    "array": [[], ["surprise"], [7]], "object": [{}, {"surprise": "surprise"}],
}
ACCEPTS = {"number": {"number", "integer"}}

WRONG_TIMES = ["2026-11-22T22:11:00Z", "2026-11-22T22:11:00.123456Z", "2026-11-22T22:11:00.123456789+00:00",
               "2026-11-22 22:11:00.123456789Z", "2026-11-22T22:11:00.123456789"]
WRONG_ADDRESSES = ["10.0.0", "10.0.0.256", "10.0.0.05", "::ffff:10.0.0.5", "fe80::1%eth0", "FE80::1", "localhost", "1:2", "10.0.0.5:80"]
WRONG_IDS = ["-1", "0x10", "1.5", "123456789012345678901", "12a", " 1"]


def survivors(record, mutants):
    """Names of the mutants that validate, which is what must not be."""
    validator = contract.validator(record)
    mutants = list(mutants)
    assert mutants, "nothing to test"
    return [name for name, mutant in mutants if validator.is_valid(mutant)]


def test_specimens_validate(record):
    for name, specimen in contract.specimens(record).items():
        assert not [error.message for error in contract.validator(record).iter_errors(specimen)], name


def present(specimen):
    """Dotted paths of the objects in a specimen, without the root."""
    paths = set()
    for path in contract.paths_of(specimen):
        keys = path.split(".")
        paths |= {".".join(keys[:n]) for n in range(1, len(keys))}
    return paths


def test_required_key_deleted(record):
    def mutants():
        for name, specimen in contract.specimens(record).items():
            there = present(specimen)
            for path, group in contract.groups(contract.schema(record)).items():
                for key in group.get("required", []) if not path or ".".join(path) in there else []:
                    yield (name, *path, key), without(specimen, (*path, key))
    assert not survivors(record, mutants())


def test_key_of_the_contract_deleted(record):
    """The same from RECORDS.md instead of from the schema."""
    paths = [*ENVELOPE, *MUST_HAVE.get(record, "").split()]
    mutants = [((name, path), without(specimen, path.split(".")))
               for name, specimen in contract.specimens(record).items() for path in paths]
    assert not survivors(record, mutants)


def test_optional_key_deleted(record):
    """No mutant: what may be absent may be absent."""
    specimen, groups = contract.full(record), contract.groups(contract.schema(record))
    for path in contract.leaves(contract.schema(record)):
        *above, key = path.split(".")
        group = groups[tuple(above)]
        if key not in group.get("required", []) and len(group["properties"]) > 1:
            assert contract.validator(record).is_valid(without(specimen, (*above, key))), path


def test_unknown_key_added(record):
    def mutants():
        for name, specimen in contract.specimens(record).items():
            for path in ["", *sorted(present(specimen))]:
                keys = path.split(".") if path else []
                yield (name, path), changed(specimen, [*keys, "surprise"], "surprise")
                yield (name, path), changed(specimen, [*keys, "surprise"], {"surprise": 1})
    assert not survivors(record, mutants())


def test_group_emptied(record):
    mutants = [(path, changed(contract.full(record), path.split("."), {})) for path in present(contract.full(record))]
    assert not survivors(record, mutants)


def test_group_replaced(record):
    mutants = [((path, value), changed(contract.full(record), path.split("."), value))
               for path in present(contract.full(record)) for value in (None, "surprise", 7, [], [{}])]
    assert not survivors(record, mutants)


def test_type_changed(record):
    def mutants():
        leaves = contract.leaves(contract.schema(record))
        for name, specimen in contract.specimens(record).items():
            for path in contract.paths_of(specimen):
                kept = ACCEPTS.get(leaves[path]["type"], {leaves[path]["type"]})
                for kind, values in OTHERS.items():
                    for value in values if kind not in kept else []:
                        yield (name, path, value), changed(specimen, path.split("."), value)
    assert not survivors(record, mutants())


def wrong_values(path, leaf):
    """Values of the right type that no record may have."""
    if path == "labels":
        return [{}, {"a": 1}, {"a": None}, {"a": {"b": "c"}}, {"a": ["b"]}]
    if leaf["type"] == "integer":
        return [-1, 2**63, 7.5]
    if leaf["type"] == "number":
        return [-0.001]
    if leaf["type"] == "boolean":
        return [0, 1]
    if leaf["type"] == "array":
        return [[None], [["x"]], [{}], *([[""], [7]] if leaf.get("items", {}).get("type", "string") == "string" else [["x"], [-1], [7.5]])]
    wrong = {"RFC 3339 UTC, nanoseconds": WRONG_TIMES, "IP address": WRONG_ADDRESSES, "identifier": WRONG_IDS}.get(leaf["unit"], [])
    return ["", *wrong, *(["surprise"] if {"enum", "const"} & set(leaf) else [])]


def test_value_out_of_range(record):
    mutants = [((path, value), changed(contract.full(record), path.split("."), value))
               for path, leaf in contract.leaves(contract.schema(record)).items() for value in wrong_values(path, leaf)]
    assert not survivors(record, mutants)


def test_zero_for_unknown(record):
    """Members that are absent at 0 are never 0 when there: RECORDS.md, "never 0 or "" for unknown"."""
    leaves = contract.leaves(contract.schema(record))
    known = {"process.pid": 0, "process.thread.id": 0, "netline.socket.cookie": "0", "netline.nic.speed_bps": 0}
    for path in set(known) & set(leaves):
        assert not contract.validator(record).is_valid(changed(contract.full(record), path.split("."), known[path])), path
