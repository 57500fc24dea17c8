# SPDX-License-Identifier: BSD-2-Clause
"""contrib/filebeat, held against Filebeat's documentation, and stand-ins that read and process as it tells: Filebeat itself is not run.

Read from elastic/beats, docs/reference/filebeat (9.x), each page at the commit named: filebeat-input-filestream 00c13f7a2613, filebeat-input-unix 2212412e4a89,
elasticsearch-output 0d3007e9ef2b, configuration-general-options 00b69e5a33cb, configuration-template 0f25e6274cc0, ilm 0e74f72fe3d3, decode-json-fields
516324197b61, drop-fields 256442a44d68, rename-fields 255c3bbc44a0, processor-script 5905620c6809. What Filebeat adds to an event, and when, is from
libbeat/publisher/processing/default.go 0409ebd037b0; that a decoded @timestamp becomes a time, from libbeat/common/jsontransform/jsonhelper.go 025fd9f3b5e1.
"""
import functools
import json
import re

import pytest
import yaml

from harness import ROOT
import readers

pytestmark = pytest.mark.any_kernel

FOLDER = ROOT / "contrib/filebeat"
RECIPES = {path.stem.removeprefix("filebeat-"): yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yml")}
MESSAGE_MAX_BYTES = 10_485_760  # of filestream, the default
UNITS = {"KiB": 1024, "MiB": 1024**2}

# Options with their types, or the values that they may have: of the whole, of each type of input, of each processor
DOCUMENTED = {
    "filebeat.inputs": list, "timestamp.precision": ("millisecond", "microsecond", "nanosecond"), "processors": list, "output.elasticsearch.hosts": list,
    "output.elasticsearch.index": str, "output.elasticsearch.indices": list, "setup.template.enabled": bool, "setup.ilm.enabled": bool,
}
INPUTS = {
    "filestream": {"type": str, "id": str, "paths": list, "file_identity.fingerprint": type(None), "prospector.scanner.fingerprint.enabled": bool,
                   "prospector.scanner.fingerprint.length": int},
    "unix": {"type": str, "path": str, "socket_type": ("stream", "datagram"), "framing": ("delimiter", "rfc6587"), "line_delimiter": str,
             "max_message_size": str, "group": str, "mode": str},
}
PROCESSORS = {
    "drop_fields": {"fields": list, "ignore_missing": bool},
    "rename": {"fields": list},
    "decode_json_fields": {"fields": list, "target": str, "overwrite_keys": bool},
    "script": {"lang": ("javascript",), "source": str},
}
INDEX = {"index": str, "when.equals.event.kind": str}
SCRIPT = """function process(event) {
    event.Put("@metadata._id", event.Get("agent.ephemeral_id") + "-" + event.Get("event.dataset") + "-" + event.Get("event.sequence"));
}
"""


# What the processors do


def drop_fields(event, fields, ignore_missing=False):
    for field in fields:
        assert ignore_missing or field in event
        event.pop(field, None)


def rename(event, fields):
    for names in fields:
        assert names["to"] not in event
        event[names["to"]] = event.pop(names["from"])


def decode_json_fields(event, fields, target, overwrite_keys):
    """With an empty target into the root: no other key of it is there by now. Integers are int64, decimals float64."""
    assert target == "" and overwrite_keys
    for field in fields:
        decoded = json.loads(event[field])
        assert event.keys() & decoded.keys() <= {"@timestamp"}, "the rest would be merged"
        event.update(decoded)


def script(event, lang, source):
    assert lang == "javascript" and source == SCRIPT
    event["@metadata"] = {"_id": f"{event['agent']['ephemeral_id']}-{event['event']['dataset']}-{event['event']['sequence']}"}


def processed(recipe, line):
    """(index, id, document): what the output makes of a line."""
    agent = {"ephemeral_id": "8a0c", "id": "41f2", "name": "shipper", "type": "filebeat", "version": "9.1.0"}
    event = {"@timestamp": "2026-11-30T00:00:00.000Z", "message": line, "log": {"offset": 0}, "input": {"type": "filestream"}, "agent": agent,
             "ecs": {"version": "8.0.0"}, "host": {"name": "shipper"}}
    for processor in recipe["processors"]:
        (name, options), = processor.items()
        {"drop_fields": drop_fields, "rename": rename, "decode_json_fields": decode_json_fields, "script": script}[name](event, **options)
    digits = {"millisecond": 3, "microsecond": 6, "nanosecond": 9}[recipe.get("timestamp.precision", "millisecond")]
    event["@timestamp"] = re.sub(r"(?<=\.)(\d+)Z", lambda fraction: fraction[1][:digits] + "Z", event["@timestamp"])
    output = recipe["output.elasticsearch"]
    chosen, = output["indices"]
    index = chosen["index"] if event["event"]["kind"] == chosen["when.equals"]["event.kind"] else output["index"]
    return index.replace("%{[event.dataset]}", event["event"]["dataset"]), event.pop("@metadata")["_id"], event


@pytest.mark.parametrize("name", RECIPES)
def test_options(name):
    recipe = RECIPES[name]
    readers.assert_documented(recipe, DOCUMENTED)
    for its in recipe["filebeat.inputs"]:
        readers.assert_documented(its, INPUTS[its["type"]])
    for processor in recipe["processors"]:
        (kind, options), = processor.items()
        readers.assert_documented(options, PROCESSORS[kind])
    for index in recipe["output.elasticsearch"]["indices"]:
        readers.assert_documented(index, INDEX)
    assert not recipe["setup.template.enabled"], "with another index Filebeat does not start then"


@pytest.mark.parametrize("name", RECIPES)
def test_examples(name):
    """Each kind of record goes to its data stream, by its _id, as it was."""
    readers.assert_examples_arrive(functools.partial(processed, RECIPES[name]))


@pytest.mark.parametrize("name", RECIPES)
def test_nanoseconds_need_the_precision(name):
    recipe, record = {key: value for key, value in RECIPES[name].items() if key != "timestamp.precision"}, readers.EXAMPLES[0]
    assert processed(recipe, json.dumps(record))[2]["@timestamp"] == record["@timestamp"][:-7] + "Z"


def test_files(tmp_path):
    """No file that has a record is too short to be told apart."""
    recipe = RECIPES["file"]
    source, = recipe["filebeat.inputs"]
    length = source["prospector.scanner.fingerprint"]["length"]
    names = [path.rpartition("/")[2] for path in source["paths"]]
    records, lines = readers.read_rotated(tmp_path, names, lambda data: data[:length] if len(data) >= length else None, MESSAGE_MAX_BYTES)
    unlike = [line for line in lines if len(line) < length or not re.search(rb'"sequence":\d+[,}]', line[:length])]
    assert not unlike, unlike[:2]
    readers.assert_arrives(records, lines, functools.partial(processed, recipe))


def test_socket(tmp_path):
    recipe = RECIPES["socket"]
    source, = recipe["filebeat.inputs"]
    assert source["socket_type"] == "stream" and source["framing"] == "delimiter" and source["line_delimiter"] == "\n"
    number, unit = re.fullmatch(r"(\d+)(\w+)", source["max_message_size"]).groups()
    records, lines = readers.read_socket(tmp_path / "s", int(number) * UNITS[unit])
    readers.assert_arrives(records, lines, functools.partial(processed, recipe))
