# SPDX-License-Identifier: BSD-2-Clause
"""contrib/vector, held against Vector's reference, and stand-ins that read as Vector does: Vector itself is not run.

Read from vectordotdev/vector at commit c3445d42d2799eb9afe102b71cba7ae96a80942b (0.58.0): website/cue/reference/components/sources/generated/file.cue and
socket.cue, transforms/generated/remap.cue, sinks/generated/elasticsearch.cue, website/cue/reference/generated/configuration.cue (buffer); how files are
read from lib/file-source and lib/file-source-common, sockets from lib/codecs, and what the sink does from src/sinks/elasticsearch/sink.rs and config.rs.
"""
import functools
import json

import pytest
import yaml

from harness import ROOT
import readers

pytestmark = pytest.mark.any_kernel

FOLDER = ROOT / "contrib/vector"
RECIPES = {path.stem.removeprefix("netline-"): yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")}

# Of each type of component: its options, with their types, or the values that they may have
DOCUMENTED = {
    "file": {
        "type": str, "include": list, "fingerprint.strategy": ("checksum", "device_and_inode"), "fingerprint.lines": int, "oldest_first": bool,
    },
    "socket": {
        "type": str, "mode": ("tcp", "udp", "unix_datagram", "unix_stream"), "path": str, "socket_file_mode": int,
        "framing.method": ("bytes", "character_delimited", "chunked_gelf", "length_delimited", "newline_delimited", "octet_counting",
                           "varint_length_delimited"),
        "framing.newline_delimited.max_length": int,
        "decoding.codec": ("avro", "bytes", "gelf", "influxdb", "json", "native", "native_json", "otlp", "protobuf", "syslog", "vrl"),
    },
    "remap": {"type": str, "inputs": list, "drop_on_error": bool, "source": str},
    "elasticsearch": {
        "type": str, "inputs": list, "endpoints": list, "mode": ("bulk", "data_stream"), "data_stream.auto_routing": bool, "data_stream.sync_fields": bool,
        "id_key": str, "request_retry_partial": bool, "encoding.except_fields": list, "compression": ("gzip", "none", "snappy", "zlib", "zstd"),
        "acknowledgements.enabled": bool, "buffer.type": ("disk", "memory"), "buffer.max_size": int, "buffer.when_full": ("block", "drop_newest"),
    },
}
MAX_LINE_BYTES = 102_400  # the file source's default
SMALLEST_DISK_BUFFER = 268_435_488


def parse_json(event):
    """`. =` leaves nothing else of the event. Integers are i64; decimals as in netline's records are exact as f64."""
    document = json.loads(event["message"])
    event.clear()
    event.update(document)


def join(event):
    event["_id"] = "-".join([event["agent"]["ephemeral_id"], event["event"]["dataset"], str(event["event"]["sequence"])])


# What each statement of the program does: one that is not here is not known to the test
STATEMENTS = {
    ". = parse_json!(.message)": parse_json,
    '.data_stream.type = if .event.kind == "metric" { "metrics" } else { "logs" }':
        lambda event: event.setdefault("data_stream", {}).update(type="metrics" if event["event"]["kind"] == "metric" else "logs"),
    ".data_stream.dataset = .event.dataset": lambda event: event["data_stream"].update(dataset=event["event"]["dataset"]),
    '.data_stream.namespace = "default"': lambda event: event["data_stream"].update(namespace="default"),
    '._id = join!([.agent.ephemeral_id, .event.dataset, to_string!(.event.sequence)], separator: "-")': join,
}


def processed(recipe, line):
    """(index, id, document): what the sink makes of a line."""
    event = {"message": line, "host": "vector", "source_type": "file", "timestamp": "2026-11-30T00:00:00.000000000Z", "file": "/var/log/x"}
    for statement in recipe["transforms"]["record"]["source"].splitlines():
        STATEMENTS[statement](event)
    sink = recipe["sinks"]["elasticsearch"]
    assert sink["mode"] == "data_stream" and sink["data_stream"]["auto_routing"] and not sink["data_stream"]["sync_fields"]
    index = "-".join(event["data_stream"][part] for part in ("type", "dataset", "namespace"))
    name = event.pop(sink["id_key"])
    if "timestamp" in event:
        event["@timestamp"] = event.pop("timestamp")
    for key in sink["encoding"]["except_fields"]:
        event.pop(key, None)
    return index, name, event


def first_line(data):
    """Of which Vector takes a checksum."""
    return data[:data.index(b"\n")] if b"\n" in data else None


@pytest.mark.parametrize("name", RECIPES)
def test_options(name):
    recipe = RECIPES[name]
    assert recipe.keys() == {"sources", "transforms", "sinks"}
    outputs = set()
    for components in recipe.values():
        for key, component in components.items():
            readers.assert_documented(component, DOCUMENTED[component["type"]])
            assert set(component.get("inputs", [])) <= outputs
        outputs |= components.keys()
    buffer = recipe["sinks"]["elasticsearch"].get("buffer", {"max_size": SMALLEST_DISK_BUFFER})
    assert buffer["max_size"] >= SMALLEST_DISK_BUFFER


def test_options_that_are_wrong():
    for wrong in ({"includes": []}, {"include": "x"}, {"fingerprint": {"strategy": "inode"}}, {"oldest_first": "yes"}):
        with pytest.raises(AssertionError):
            readers.assert_documented(wrong, DOCUMENTED["file"])


def test_both_alike():
    assert RECIPES["file"]["transforms"]["record"]["source"] == RECIPES["socket"]["transforms"]["record"]["source"]


@pytest.mark.parametrize("name", RECIPES)
def test_examples(name):
    """Each kind of record goes to its data stream, by its _id, as it was."""
    readers.assert_examples_arrive(functools.partial(processed, RECIPES[name]))


def test_files(tmp_path):
    recipe = RECIPES["file"]
    source = recipe["sources"]["netline"]
    assert source["fingerprint"] == {"strategy": "checksum", "lines": 1}
    names = [path.rpartition("/")[2] for path in source["include"]]
    records, lines = readers.read_rotated(tmp_path, names, first_line, MAX_LINE_BYTES)
    readers.assert_arrives(records, lines, functools.partial(processed, recipe))


def test_files_need_the_rotated_names(tmp_path):
    """The stand-in misses what a reader of the one name would miss."""
    records, lines = readers.read_rotated(tmp_path, ["netline.jsonl"], first_line, MAX_LINE_BYTES)
    assert 0 < len(lines) < len(records)


def test_socket(tmp_path):
    recipe = RECIPES["socket"]
    source = recipe["sources"]["netline"]
    assert source["mode"] == "unix_stream" and source["framing"]["method"] == "newline_delimited" and source["decoding"] == {"codec": "bytes"}
    records, lines = readers.read_socket(tmp_path / "s", source["framing"]["newline_delimited"]["max_length"])
    readers.assert_arrives(records, lines, functools.partial(processed, recipe))
