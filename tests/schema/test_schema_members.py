# SPDX-License-Identifier: BSD-2-Clause
"""Every member of a wire struct has a row, and every row stands in the schema as it says."""
import json
import re
import shutil
import subprocess

import pytest

import contract
from contract import HEADERS, RECORDS

pytestmark = pytest.mark.parametrize("record", RECORDS)


def run(*command):
    assert shutil.which(command[0]), f"{command[0]} is missing: install it (make deps)"
    done = subprocess.run(command, capture_output=True, text=True, timeout=contract.TIME_LIMIT, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr}"
    return done.stdout


def struct_members(record, folder):
    """Members of the wire struct as BPF programs see it, from its BTF, that are to have a row."""
    source, built = folder / "wire.c", folder / "wire.o"
    source.write_text(f'#include "{HEADERS[record]}"\nstruct {record} wire;\n')
    arch = run("gcc", "-print-multiarch").strip()
    run("clang", "-target", "bpf", "-g", "-O2", f"-I/usr/include/{arch}", "-c", str(source), "-o", str(built))
    types = json.loads(run("bpftool", "-j", "btf", "dump", "file", str(built)))["types"]
    structs = [entry for entry in types if entry["kind"] == "STRUCT" and entry["name"] == record]
    assert len(structs) == 1, f"no struct {record} in the BTF of {HEADERS[record]}"
    return {member["name"] for member in structs[0]["members"] if not re.match("pad|told_", member["name"])}  # told_: for the agent alone


def rows(record):
    """Text of each row after macro expansion, by path."""
    text = run("clang", "-std=gnu11", "-E", "-P", "-x", "c", str(HEADERS[record]))
    block = re.search(rf"struct row {record}_rows\[\] = \{{(.*?)\}};", text, re.S)
    assert block, f"no {record}_rows in {HEADERS[record]}"
    parts = re.split(r'\{ *\.path = "([^"]+)"', block.group(1))[1:]
    return dict(zip(parts[::2], parts[1::2]))


def test_every_member_has_a_row(record, tmp_path):
    used = set(re.findall(r'\.(?:count_)?member = "(\w+)"', "".join(rows(record).values())))
    assert used == struct_members(record, tmp_path)


def test_every_row_stands_in_the_schema(record):
    leaves = contract.leaves(contract.schema(record))
    for path, text in rows(record).items():
        assert path in leaves, path
        group = contract.schema(record)
        for key in path.split(".")[:-1]:
            group = group["properties"][key]
        optional = ".absence = " in text
        assert optional != (path.split(".")[-1] in group.get("required", [])), f"{path}: absent and required do not agree"
