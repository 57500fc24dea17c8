# SPDX-License-Identifier: BSD-2-Clause
"""Elasticsearch templates agree with the schemas, and both with the Elastic Common Schema."""
import csv

import pytest

import contract
from contract import RECORDS

SUBSET = contract.ROOT / "tests" / "schema" / "ecs-9.4.0-subset.csv"  # rows of ECS 9.4.0's fields.csv, as they are
ECS = {row["field"]: row for row in csv.DictReader(SUBSET.open())}
NOT_ECS = {"network.interface.name"}  # OpenTelemetry's
ALLOWED = {"date": {"date", "date_nanos"}}

each_record = pytest.mark.parametrize("record", RECORDS)


def mapped(mappings, path=()):
    """Dotted path -> mapping of a field."""
    found = {}
    for key, child in mappings["properties"].items():
        if "properties" in child:
            found.update(mapped(child, (*path, key)))
        else:
            found[".".join((*path, key))] = child
    return found


def expected(path, leaf):
    """The mapping that a leaf of the schema must have."""
    if path == "labels":
        return {"type": "object", "dynamic": True}
    if path == "message":
        return {"type": "match_only_text"}
    if leaf["type"] == "number":
        return {"type": "scaled_float", "scaling_factor": 1000}
    kind = leaf["items"]["type"] if "items" in leaf else leaf["type"]
    if kind == "string" and leaf.get("format") == "date-time":
        return {"type": "date_nanos"}
    if kind == "string" and leaf["unit"] == "IP address":
        return {"type": "ip"}
    return {"type": {"integer": "long", "boolean": "boolean"}.get(kind, "keyword")}


@each_record
def test_mapping_has_every_leaf(record):
    wanted = {}
    for path, leaf in contract.leaves(contract.schema(record)).items():
        group = path.rpartition(".")[0]
        if group.endswith(".histogram"):
            wanted[group] = {"type": "histogram"}
        else:
            wanted[path] = expected(path, leaf)
    assert mapped(contract.component(record)["template"]["mappings"]) == wanted


@each_record
def test_mapping_is_closed(record):
    mappings = contract.component(record)["template"]["mappings"]
    assert mappings["dynamic"] is False and mappings["date_detection"] is False
    assert mappings["dynamic_templates"] == [
        {"labels": {"path_match": "labels.*", "match_mapping_type": "string", "mapping": {"type": "keyword"}}}]


def test_a_path_has_one_mapping_everywhere():
    kinds = {}
    for record in RECORDS:
        for path, mapping in mapped(contract.component(record)["template"]["mappings"]).items():
            kinds.setdefault(path, set()).add(mapping["type"])
    assert not {path: types for path, types in kinds.items() if len(types) > 1}


@each_record
def test_index_template(record):
    template = contract.index_template(record)
    stream = "metrics" if contract.leaves(contract.schema(record))["event.kind"]["const"] == "metric" else "logs"
    assert template["index_patterns"] == [f"{stream}-netline.{record}-*"]
    assert template["data_stream"] == {} and template["priority"] == 200
    assert template["composed_of"] == [f"netline-{record}"]
    for part in template, contract.component(record):
        version = contract.leaves(contract.schema(record))["netline.schema"]["const"]
        assert part["version"] == version and part["_meta"]["schema_version"] == version
        assert part["_meta"]["description"].startswith(f"netline.{record}: ")


@each_record
def test_ecs_names(record):
    """What ECS lacks stands under netline. A field that ECS has and this fails for: copy its row into the subset."""
    paths = contract.leaves(contract.schema(record))
    assert not [path for path in paths if path not in ECS and path not in NOT_ECS and not path.startswith("netline.")]


@each_record
def test_ecs_types(record):
    leaves = contract.leaves(contract.schema(record))
    for path, mapping in mapped(contract.component(record)["template"]["mappings"]).items():
        if path in ECS:
            kind = ECS[path]["type"]
            assert mapping["type"] in ALLOWED.get(kind, {kind}), path
            assert (leaves[path]["type"] == "array") == (ECS[path]["normalization"] == "array"), path
