# SPDX-License-Identifier: BSD-2-Clause
"""The man pages: man and mandoc have nothing to complain of, and nothing that netline has is missing."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
NETLINE = Path(os.environ.get("NETLINE", TOP / "build/netline"))
PAGES = [TOP / "contrib/man/netline.1", TOP / "contrib/man/netline-records.5"]
ENVIRONMENT = {**os.environ, "MANWIDTH": "80", "MAN_KEEP_FORMATTING": "", "LC_ALL": "C.UTF-8"}
LIMIT = 30


def call(*argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False, env=ENVIRONMENT)


def program(name):
    return pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed")


def render(page):
    """As it is read at 80 columns, without bold and underlined."""
    done = call("man", "-E", "UTF-8", "-l", page)
    assert (done.returncode, done.stderr) == (0, "")
    return re.sub(r".\x08", "", done.stdout)


def sections(text):
    return dict(part.split("\n", 1) for part in re.split(r"\n(?=[A-Z][A-Z ]+\n)", text) if re.match(r"[A-Z ]+\n", part))


def tags(text, indent=7):
    """What stands alone at the left, or before its text."""
    return [re.split(r" {2,}| \(", line.strip())[0] for line in text.splitlines() if re.match(f" {{{indent}}}\\S", line)]


def flat(text):
    return re.sub(r"\s+", " ", text)


@program("man")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_has_no_warnings(page):
    done = call("man", "--warnings", "-E", "UTF-8", "-l", page)
    assert (done.returncode, done.stderr) == (0, "")


@program("mandoc")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_has_no_warnings(page):
    done = call("mandoc", "-T", "lint", "-W", "warning", page)
    assert done.returncode == 0 and done.stdout + done.stderr == ""


@program("man")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_fits_the_screen(page):
    lines = render(page).splitlines()
    assert len(lines) > 100 and max(map(len, lines)) <= 80
    assert not [line for line in lines if re.search(r"[\u2010\u2212`@]|\\f", line.replace("@timestamp", ""))], "cut names, lost dashes or markup"


@program("man")
def test_every_option():
    """As --help has them, in any order, with their help."""
    told = call(NETLINE, "--help").stdout.split("\nOptions:\n")[1]
    options = re.findall(r"^ +((?:-\w+, )?--\S+(?: [^\s]+)?)\s+(.+)$", told.split("\n\n")[0], re.M)
    assert len(options) > 30
    page = sections(render(PAGES[0]))["OPTIONS"]
    assert len(re.findall(r"^ {7}-", page, re.M)) == len(options)
    for option, text in options:
        assert re.search(rf" {re.escape(option)} (?i:{text[0]}){re.escape(text[1:].replace('`', ''))}", flat(page)), option
    settings = re.findall(r"^  ([\w-]+=\S+)\s+(.+)$", told, re.M)
    page = sections(render(PAGES[0]))["OUTPUTS"]
    assert len(settings) > 10
    assert len(re.findall(r"^ {7}[\w-]+=", page, re.M)) == len(settings)
    for setting, text in settings:
        assert re.search(rf" {re.escape(setting)} (?i:{text[0]}){re.escape(text[1:])}", flat(page)), setting


@program("man")
def test_every_probe():
    told = call(NETLINE, "--help").stdout.split("\nProbes:\n")[1].split("\n\n")[0]
    assert tags(sections(render(PAGES[0]))["PROBES"]) == re.findall(r"^  (\w+)", told, re.M)


@program("man")
def test_probes_of_a_filter(tmp_path):
    """Those that the page names for the filter are those that take it."""
    page = sections(render(PAGES[0]))["OPTIONS"].split("\n   Other options of probes\n")[0]
    examples = {"--nic": "lo", "--pid": "1", "--direction": "accept", "--cgroup": "1", "--min-latency": "1", "--cgroupmap": "/nosuch", "--mntnsmap": "/nosuch"}
    probes = tags(sections(render(PAGES[0]))["PROBES"])[:-1]
    (tmp_path / "all.json").write_text(json.dumps({"probes": {probe: {} for probe in probes}}))
    for part in re.split(r"\n(?= {7}-)", page)[1:]:
        option, argument = re.search(r"(--[\w-]+)(.*)", part).groups()
        said = re.search(r"Probes: ([\w, ]+)\.", flat(part))[1].split(", ")
        words = [option] + [examples.get(option, "80")] * argument.startswith(" ")
        refused = re.findall(r": (\w+) cannot apply", call(NETLINE, "--config", tmp_path / "all.json", "--check", *words).stderr)
        assert refused and set(said) == set(probes) - set(refused), option


def leaves(schema, path=""):
    for key, child in schema["properties"].items():
        if "properties" in child:
            yield from leaves(child, f"{path}{key}.")
        else:
            yield path + key, child


@program("man")
def test_every_field():
    page = sections(render(PAGES[1]))
    everywhere = page["FIELDS OF EVERY RECORD"]
    of_records = dict(part.split("\n", 1) for part in re.split(r"\n(?= {3}\w)", "\n" + page["RECORDS"])[1:])
    of_records = {name.strip(): text for name, text in of_records.items()}
    schemas = json.loads(call(NETLINE, "schema").stdout)
    assert set(of_records) == set(schemas)
    for record, schema in schemas.items():
        text = flat(of_records[record] + everywhere)
        fields = dict(leaves(schema))
        told = re.findall(r"^ {7}([@\w]+(?:\.\w+)*) \((?:string|integer|number|boolean|object|array)", everywhere + of_records[record], re.M)
        assert sorted(told) == sorted(fields), record
        for path, leaf in fields.items():
            meaning, _, when = leaf["description"].removesuffix(")").partition(" (absent when ")
            assert meaning.rstrip(")") in text, path
            assert not when or f"Absent when {when}" in text, path
            unit = "" if leaf["unit"] in ("1", "bool", "text", "keyword") else f", {leaf['unit']}"
            assert re.search(rf"{re.escape(path)} \([\w ]+{re.escape(unit)}\) ", text), path
            for word in leaf.get("enum", []) if len(leaf.get("enum", [])) <= 32 else []:
                assert word in text, path
