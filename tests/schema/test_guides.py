# SPDX-License-Identifier: BSD-2-Clause
"""What the Markdown says of options, fields and files is so: README.md and all below contrib/, against --help, the schemas and the tree."""
import functools
import re

import pytest

from contract import RECORDS, ROOT, netline, schema

PAGES = sorted([ROOT / "README.md", *(ROOT / "contrib").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
BLOCK = re.compile(r"^```[\s\S]*?^```|(?:^    .*\n?)+", re.M)  # fenced, or indented
INLINE = re.compile(r"`([^`\n]+)`")
# Where a command begins, and netline is what runs.
COMMAND = re.compile(r"(?:^|[|;&(`$])\s*(?:sudo )?(?:ip netns exec \S+ )?(?:[\w./]*/)?netline(?![\w.])((?:[ \t]+(?:'[^']*'|\"[^\"]*\"|[^\s|;&<>#`()]+))*)", re.M)
FIELD = re.compile(r"(?:netline|event|network|source|destination|process|container|host|agent)(?:\.[a-z_]+)+")
PATH = re.compile(r"(?<![\w./<-])(?:contrib|schema|tests|bpf|agent)/[\w./*-]*[\w/*]")
OF_OTHERS = {"event.id"}  # Fluent Bit adds it
PLACEHOLDERS = {"schema/X.h", "bpf/X.bpf.c", "agent/probes/X.c"}


@functools.lru_cache(maxsize=None)
def known():
    """Of --help: {option: whether it takes a value}, the words that may stand alone, settings of outputs."""
    text = netline("--help").decode()
    top, settings = text.split("Settings of an output")
    options = {}
    for line in re.findall(r"^ +(-.*?)(?:  |$)", top, re.M):
        takes_value = " " in line.replace(", ", "")
        options.update(dict.fromkeys(re.findall(r"(?<![\w-])-{1,2}\w[\w-]*", line), takes_value))
    words = {"list", "schema", *RECORDS, *re.findall(r"^  (\w+) ", top.split("Probes:")[1].split("Options:")[0], re.M)}
    return options, words, set(re.findall(r"^  ([\w-]+)=", settings, re.M))


@functools.lru_cache(maxsize=None)
def paths():
    """Every path of a record, groups included."""
    found = {f"netline.{record}" for record in RECORDS}

    def walk(properties, prefix):
        for key, value in properties.items():
            found.add(prefix + key)
            walk(value.get("properties", {}), f"{prefix}{key}.")
    for record in RECORDS:
        walk(schema(record)["properties"], "")
    return found


def code(text):
    """The code blocks, and inline code."""
    blocks = [block.strip("`") for block in BLOCK.findall(text)]
    return blocks, INLINE.findall(BLOCK.sub("", text))


def wrong_options(text):
    options, words, settings = known()
    blocks, inline = code(text)
    wrong = [bare for bare in (word.split("=")[0].split()[0] for word in inline if word.startswith("--")) if bare not in options]
    for arguments in (found for piece in blocks + inline for found in COMMAND.findall(piece.replace("\\\n", " "))):
        takes, option = False, None
        for word in arguments.split():
            if takes:
                wrong += [key for key in re.findall(r",([\w-]+)", word) if option in ("-o", "--output") and key not in settings]
                takes = False
            elif word.startswith("-"):
                option, _, value = word.partition("=")
                wrong += [option] * (option not in options)
                takes = not value and options.get(option, True)
            elif word not in words and word.isidentifier() and word.islower():
                wrong.append(word)
    return wrong


def wrong_fields(text):
    blocks, inline = code(text)
    named = [word for word in inline if FIELD.fullmatch(word)]
    for piece in blocks + inline:  # jq's .a.b.c
        named += re.findall(rf"(?<![\w/.-])\.({FIELD.pattern})", piece)
    files = {path.name for path in ROOT.glob("contrib/**/*")}
    return [name for name in named if name not in paths() | OF_OTHERS and name not in files]


def wrong_paths(text, page):
    wrong = [path for path in PATH.findall(re.sub(r"\]\([^)]*\)", "]", text)) if path not in PLACEHOLDERS and not list(ROOT.glob(path.rstrip("/")))]
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", text):
        to = (page.parent / target).resolve() if target else page
        there = to.exists() and to.is_relative_to(ROOT)
        headings = re.findall(r"^#+ (.*)$", to.read_text(), re.M) if there and anchor else []
        if not there or (anchor and anchor not in [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]):
            wrong.append(f"{target}#{anchor}")
    return wrong


@pytest.mark.parametrize("name", NAMES)
def test_options_exist(name):
    assert not wrong_options((ROOT / name).read_text())


@pytest.mark.parametrize("name", NAMES)
def test_fields_exist(name):
    assert not wrong_fields((ROOT / name).read_text())


@pytest.mark.parametrize("name", NAMES)
def test_paths_exist(name):
    assert not wrong_paths((ROOT / name).read_text(), ROOT / name)


def test_what_is_wrong_is_found():
    text = ("    sudo build/netline tcp_bites -i 1 --nics eth0 | jq '.netline.byte.sent, .[0].netline.bytes.sent'\n\n"
            "Or `netline -o file:x,rotate=1M,keep=1` with `--sumary`, `netline.tcp.flag`, `netline.tcp.flags` or `event.reason`, in\n"
            "contrib/jq/none.jq, contrib/jq/netline.jq and [there](contrib/none.md), [here](contrib/guides/method.md#nowhere), "
            "[and](contrib/guides/method.md#the-resources).\n")
    assert wrong_options(text) == ["--sumary", "tcp_bites", "--nics", "rotate"]
    assert wrong_fields(text) == ["netline.tcp.flag", "netline.byte.sent"]
    assert wrong_paths(text, ROOT / "README.md") == ["contrib/jq/none.jq", "contrib/none.md#", "contrib/guides/method.md#nowhere"]
