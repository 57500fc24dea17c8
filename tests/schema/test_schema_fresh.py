# SPDX-License-Identifier: BSD-2-Clause
"""What is committed is what the binary prints: `make schema` regenerates it."""
import json

import pytest

import contract
from contract import RECORDS, SCHEMA, netline


def generated(folder):
    """Relative path -> bytes of the generated files in a folder laid out as schema/."""
    files = [path for path in folder.glob("*.json") if path.name not in contract.BY_HAND]
    files += [folder / "fields.md", *(path for path in (folder / "elasticsearch").rglob("*") if path.is_file())]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.exists()}


def test_committed_files_are_fresh(tmp_path):
    netline("schema", "--write", tmp_path)
    fresh, committed = generated(tmp_path), generated(SCHEMA)
    assert sorted(committed) == sorted(fresh), "files too many or missing: make schema"
    assert not [name for name in fresh if fresh[name] != committed[name]], "stale: make schema"


def test_each_record_has_its_files():
    wanted = {"fields.md"}
    for record in RECORDS:
        wanted |= {f"{record}.json", f"elasticsearch/component-{record}.json", f"elasticsearch/index-{record}.json"}
    assert set(generated(SCHEMA)) == wanted
    assert {path.stem for path in (SCHEMA / "examples").iterdir()} == set(RECORDS)


@pytest.mark.parametrize("record", RECORDS)
def test_schema_of_a_record_is_printed(record):
    assert netline("schema", record) == (SCHEMA / f"{record}.json").read_bytes()


def test_all_schemas_are_printed():
    printed = json.loads(netline("schema"))
    assert printed == {record: contract.schema(record) for record in RECORDS}


def test_writing_twice_is_the_same(tmp_path):
    netline("schema", "--write", tmp_path)
    first = generated(tmp_path)
    netline("schema", "--write", tmp_path)
    assert generated(tmp_path) == first


def test_fields_page_has_every_leaf():
    page = (SCHEMA / "fields.md").read_text()
    assert "make schema" in page.splitlines()[0]
    sections = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    assert set(sections) == set(RECORDS)
    for record in RECORDS:
        rows = [line.split(" | ") for line in sections[record].splitlines() if line.startswith("| `")]
        leaves = contract.leaves(contract.schema(record))
        assert [row[0].strip("| `") for row in rows] == list(leaves), record
        for row, (path, leaf) in zip(rows, leaves.items()):
            assert len(row) == 5 and row[2] == leaf["unit"], path
            assert (row[3] == "never") == ("(absent when " not in leaf["description"]), path
