# SPDX-License-Identifier: BSD-2-Clause
"""The committed schemas: valid, closed, described, and of one mind about every path."""
import json

import jsonschema
import pytest

import contract
from contract import RECORDS

KEYWORDS = {
    "$schema", "$id", "title", "description", "unit", "type", "properties", "required", "additionalProperties",
    "minProperties", "const", "enum", "minimum", "exclusiveMinimum", "maximum", "minLength", "maxLength", "pattern", "format",
    "anyOf", "items", "minItems", "maxItems",
}

# From RECORDS.md, by hand: a schema that forgets to require these is wrong, whatever the rows say.
ENVELOPE = """@timestamp ecs.version event.kind event.category event.type event.dataset event.action event.sequence host.name
    agent.type agent.ephemeral_id netline.schema""".split()
MUST_HAVE = {
    "nic_throughput": """event.start event.duration network.direction network.bytes network.packets network.interface.name
        netline.nic.netns netline.nic.index netline.nic.scope netline.nic.skbs netline.nic.bytes_total
        netline.nic.packets_total""",
    "tcp_connection": """event.outcome network.type network.transport source.ip destination.ip destination.port
        netline.role netline.socket.netns""",
    "agent_probe": "host.os.kernel agent.version netline.probe.name",
    "agent_status": "agent.version netline.scope",
    "agent_lost": """message event.reason agent.version netline.lost.stage netline.lost.dataset netline.lost.count
        netline.lost.count_total""",
}
# The same for what may be absent: a schema that requires these refuses good records.
MAY_LACK = {
    "nic_throughput": """netline.nic.queue netline.nic.queues netline.nic.speed_bps netline.nic.avg_packet_bytes
        netline.nic.bytes_per_sec netline.nic.packets_per_sec""",
    "tcp_connection": """event.reason event.duration network.direction process.pid process.name process.thread.id
        process.thread.name netline.srtt_ns netline.accept.state netline.accept.wait_ns netline.socket.cookie
        netline.socket.cgroup""",
    "agent_probe": "event.reason netline.probe.way netline.probe.hooks",
    "agent_status": """netline.agent.uptime_ns netline.agent.cpu_ns netline.agent.rss_bytes netline.probe.name
        netline.events.produced netline.events.emitted netline.events.filtered netline.events.lost
        netline.events.ring_peak_bytes netline.events.bpf_runs netline.events.bpf_ns netline.output.name
        netline.output.state netline.output.emitted netline.output.delivered netline.output.queued netline.output.lost
        netline.output.bytes""",
    "agent_lost": "netline.lost.output",
}
CONSTANTS = {  # event.kind, event.category, event.type, event.action
    "nic_throughput": ("metric", ["network"], ["info"], "nic-throughput"),
    "tcp_connection": ("event", ["network"], ["connection", "start"], None),
    "agent_probe": ("event", ["process"], ["info"], None),
    "agent_status": ("metric", ["process"], ["info"], "agent-status"),
    "agent_lost": ("pipeline_error", ["process"], ["info"], "events-lost"),
}
ENVELOPE_ORDER = """@timestamp message ecs event labels host agent network source destination process container netline""".split()

each_record = pytest.mark.parametrize("record", RECORDS)


def test_there_are_records():
    assert {"nic_throughput", "tcp_connection", "agent_probe", "agent_status", "agent_lost"} <= set(RECORDS)


@each_record
def test_schema_is_valid(record):
    jsonschema.Draft202012Validator.check_schema(contract.schema(record))


@each_record
def test_head(record):
    schema = contract.schema(record)
    version = schema["properties"]["netline"]["properties"]["schema"]["const"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:netline:schema:{version}:{record}"
    assert schema["title"] == f"netline.{record}" and schema["description"]
    assert contract.leaves(schema)["event.dataset"]["const"] == f"netline.{record}"


def test_ids_are_unique_and_of_one_version():
    ids = [contract.schema(record)["$id"] for record in RECORDS]
    assert len(set(ids)) == len(ids)
    assert len({name.split(":")[3] for name in ids}) == 1


@each_record
def test_only_known_keywords(record):
    """A misspelt keyword would be an annotation, and allow everything."""
    def check(node, where):
        assert set(node) <= KEYWORDS, f"{where}: {set(node) - KEYWORDS}"
        for key, child in node.get("properties", {}).items():
            check(child, f"{where}.{key}")
        for child in [*node.get("anyOf", []), *([node["items"]] if "items" in node else [])]:
            check(child, f"{where}[]")
    check(contract.schema(record), record)


@each_record
def test_objects_are_closed(record):
    for path, group in contract.groups(contract.schema(record)).items():
        assert group["type"] == "object" and group["additionalProperties"] is False, path
        assert group.get("required") or group.get("minProperties") == 1, f"{path} may be empty"
        assert set(group.get("required", [])) <= set(group["properties"]), path
    open_leaves = {path for path, leaf in contract.leaves(contract.schema(record)).items() if leaf["type"] == "object"}
    assert open_leaves == {"labels"}
    assert contract.schema(record)["properties"]["labels"]["additionalProperties"] == {"type": "string"}


@each_record
def test_leaves_are_described(record):
    for path, leaf in contract.leaves(contract.schema(record)).items():
        assert leaf["type"] in ("string", "integer", "number", "boolean", "array", "object"), path
        assert len(leaf["description"]) > 3 and not leaf["description"].endswith("."), path
        assert leaf["unit"], path


@each_record
def test_leaves_are_limited(record):
    """No leaf takes everything of its type."""
    limits = {"const", "enum", "minimum", "exclusiveMinimum", "minLength", "pattern", "anyOf", "items", "additionalProperties"}
    for path, leaf in contract.leaves(contract.schema(record)).items():
        assert leaf["type"] == "boolean" or limits & set(leaf), path
        assert leaf["type"] != "integer" or "const" in leaf or leaf["maximum"] <= 2**63 - 1, path


@each_record
def test_absence_is_told(record):
    """A leaf is required where its group is there, or else says when it is absent."""
    schema = contract.schema(record)
    for path, group in contract.groups(schema).items():
        for key, child in group["properties"].items():
            if "properties" in child:
                assert (key in group.get("required", [])) == bool(child.get("required")), (path, key)
            else:
                told = "(absent when " in child["description"]
                assert told != (key in group.get("required", [])), f"{(*path, key)}: required, or absent when?"


@each_record
def test_required(record):
    required = contract.required_leaves(contract.schema(record))
    assert set(ENVELOPE) <= required
    assert set(MUST_HAVE.get(record, "").split()) <= required
    lack = {"labels", *MAY_LACK.get(record, "").split()}
    assert lack <= set(contract.leaves(contract.schema(record))), "paths of RECORDS.md that the schema lacks"
    assert not lack & required


@pytest.mark.parametrize("record", sorted(CONSTANTS))
def test_constants(record):
    leaves = contract.leaves(contract.schema(record))
    kind, category, types, action = CONSTANTS[record]
    assert leaves["event.kind"]["const"] == kind
    assert leaves["event.category"]["const"] == category
    assert leaves["event.type"]["const"] == types
    assert leaves["event.action"].get("const") == action
    assert leaves["agent.type"]["const"] == "netline" and leaves["ecs.version"]["const"] == "9.4.0"


@each_record
def test_order(record):
    keys = list(contract.schema(record)["properties"])
    assert keys == sorted(keys, key=ENVELOPE_ORDER.index)


def test_a_path_is_one_thing_everywhere():
    leaves, groups = {}, set()
    for record in RECORDS:
        groups |= {".".join(path) for path in contract.groups(contract.schema(record)) if path}
        for path, leaf in contract.leaves(contract.schema(record)).items():
            leaves.setdefault(path, {}).setdefault((leaf["type"], leaf.get("format"), "anyOf" in leaf), []).append(record)
    assert not {path: kinds for path, kinds in leaves.items() if len(kinds) > 1}
    assert not groups & set(leaves)


@each_record
def test_units_are_in_the_names(record):
    for path, leaf in contract.leaves(contract.schema(record)).items():
        name, unit = path.rsplit(".", 1)[-1], leaf["unit"]
        assert name.endswith("_ns") == (unit == "ns") or path == "event.duration" or path.endswith(".histogram.values"), path
        assert name.endswith("_bps") == (unit == "bits/s"), path
        assert name.endswith("_per_sec") == (unit.endswith("/s") and unit != "bits/s"), path
        assert unit not in ("bytes", "packets") or unit in path, path


@each_record
def test_example(record):
    text = (contract.SCHEMA / "examples" / f"{record}.json").read_text()
    errors = [error.message for error in contract.validator(record).iter_errors(contract.example(record))]
    assert not errors
    assert text == json.dumps(contract.example(record), separators=(",", ":"), ensure_ascii=False) + "\n", "not a line of output"
    assert len(text) <= 4096
    order = list(contract.leaves(contract.schema(record)))
    paths = list(contract.paths_of(contract.example(record)))
    assert paths == sorted(paths, key=order.index), "keys in another order than the agent's"


def test_an_example_has_labels():
    assert any("labels" in contract.example(record) for record in RECORDS)
