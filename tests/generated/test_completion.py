# SPDX-License-Identifier: BSD-2-Clause
"""What bash, zsh and fish offer after a word of the command line, asked of the shells themselves, is what `netline --help` tells."""
import json
import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
NETLINE = Path(os.environ.get("NETLINE", TOP / "build/netline"))
HERE, FILES = Path(__file__).parent, TOP / "contrib/completion"
LIMIT = 30
HELP = subprocess.run([NETLINE, "--help"], capture_output=True, text=True, timeout=LIMIT, check=True).stdout
PARTS = dict(part.split(":", 1) for part in re.split(r"\n\n(?=[A-Z])", HELP)[1:])
OPTIONS = set(re.findall(r"^ +(?:-\w+, )?(--[\w-]+)", PARTS["Options"], re.M))
LETTERS = set(re.findall(r"^ +(-\w+), --", PARTS["Options"], re.M))
PROBES = set(re.findall(r"^  (\w+)", PARTS["Probes"], re.M))
SETTINGS = set(re.findall(r"^  ([\w-]+=)", PARTS["Settings of an output, after its name"], re.M))
RECORDS = set(json.loads(subprocess.run([NETLINE, "schema"], capture_output=True, timeout=LIMIT, check=True).stdout))
OUTPUTS = {"stdout", "file:", "unix:", "unix-connect:"}


def call(*argv, **kw):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False, **kw)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


class Bash:
    """It replaces what follows the last : or = of the word."""
    def __init__(self, _):
        pass

    def __call__(self, line):
        before = re.search(r"[^ ]*$", line)[0]
        before = before[:max(before.rfind(":"), before.rfind("=")) + 1]
        return {before + found for found in call("bash", "--norc", HERE / "completion.bash", FILES / "netline.bash", line).splitlines() if found}

    def close(self):
        pass


class Fish:
    def __init__(self, folder):
        self._environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}

    def __call__(self, line):
        offered = call("fish", "--no-config", HERE / "completion.fish", FILES / "netline.fish", line, env=self._environment)
        return {found.split("\t")[0] for found in offered.splitlines()}

    def close(self):
        pass


class Zsh:
    """An interactive one on a terminal of its own: it completes in its line editor only. It replaces the last piece of a word."""
    def __init__(self, folder):
        self._found = folder / "found"
        self._found.touch()
        environment = {**os.environ, "FILE": str(FILES / "_netline"), "FOUND": str(self._found), "TERM": "dumb", "HOME": str(folder)}
        self._terminal, end = pty.openpty()
        self._process = subprocess.Popen(["zsh", "-f", "-i"], stdin=end, stdout=end, stderr=end, env=environment, start_new_session=True, cwd=folder)
        os.close(end)
        self._said = b""
        self._type(f"source {HERE}/completion.zsh; print end >> $FOUND\n")
        self._answer()

    def __call__(self, line):
        self._type(line + "\t")
        offered = self._answer()
        self._type("\x15")  # the line is emptied
        return set(offered)

    def _type(self, text):
        os.write(self._terminal, text.encode())

    def _answer(self):
        limit = time.monotonic() + LIMIT
        while not self._found.read_text().endswith("end\n"):
            if select.select([self._terminal], [], [], 0.01)[0]:
                self._said += os.read(self._terminal, 65536)
            assert time.monotonic() < limit, f"no answer: {self._said[-2000:]!r}"
        offered = self._found.read_text().splitlines()[:-1]
        self._found.write_text("")
        return offered

    def close(self):
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


@pytest.fixture(name="offers", scope="module", params=[Bash, Fish, Zsh], ids=lambda shell: shell.__name__.lower())
def of_a_shell(request, tmp_path_factory):
    """Whole words that the shell offers at the end of a line, in the place of the last one."""
    name = request.param.__name__.lower()
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    shell = request.param(tmp_path_factory.mktemp(name))
    yield shell
    shell.close()


def test_every_option(offers):
    assert len(OPTIONS) > 30
    assert offers("netline --") == OPTIONS
    assert offers("netline tcp_bytes --") == OPTIONS
    assert {word for word in offers("netline -") if not word.startswith("--")} >= LETTERS


def test_every_probe(offers):
    assert len(PROBES) > 6 and "all" in PROBES
    assert offers("netline ") == PROBES | {"list", "schema"}
    assert offers("netline tcp_bytes ") >= PROBES - {"tcp_bytes"}
    assert not offers("netline tcp_bytes ") & {"list", "schema"}


def test_records_of_schema(offers):
    assert offers("netline schema ") == RECORDS
    assert offers("netline list ") == set()


@pytest.mark.parametrize("option", re.findall(r"--[\w-]+ [a-z]+(?:\|[a-z]+)*(?= |\n)", PARTS["Options"]))
def test_words_of_an_option(offers, option):
    name, words = option.split()
    assert offers(f"netline {name} ") == set(words.split("|"))
    word = words.split("|")[-1]
    assert {found.removeprefix(f"{name}=") for found in offers(f"netline {name}={word[:2]}")} == {word}


def test_short_option(offers):
    assert offers("netline -r ") == {"connect", "accept"}


def pieces(found):
    """What stands behind the last , + or =; zsh offers just that."""
    return {re.split("[,+=]", word.removesuffix("="))[-1] + "=" * word.endswith("=") for word in found}


def test_nics(offers):
    nics = {path.name for path in Path("/sys/class/net").iterdir() if path.is_symlink()}
    assert "lo" in nics
    assert offers("netline -n ") == nics
    assert pieces(offers("netline --nic=")) == nics
    assert pieces(offers("netline --nic lo,")) == nics


def test_processes(offers):
    assert str(os.getpid()) in pieces(offers("netline --pid 1,"))


def test_nothing_for_numbers(offers):
    assert offers("netline --port ") == offers("netline -sp ") == offers("netline --count ") == set()


def test_files(offers, tmp_path):
    (tmp_path / "first.json").touch()
    (tmp_path / "folder").mkdir()
    found = {Path(word).name for word in offers(f"netline --config {tmp_path}/f")}
    assert found == {"first.json", "folder"}
    assert {Path(word).name for word in offers(f"netline schema --write {tmp_path}/f")} == {"folder"}
    for option in ("-o ", "--output="):
        for kind in OUTPUTS - {"stdout"}:
            assert {Path(word).name for word in offers(f"netline {option}{kind}{tmp_path}/fi")} == {"first.json"}


def test_outputs(offers):
    assert offers("netline -o ") == OUTPUTS
    assert {found.removeprefix("--output=") for found in offers("netline --output=")} == OUTPUTS


def test_settings_of_an_output(offers):
    of_files = pieces(offers("netline -o file:/x,"))
    of_sockets = pieces(offers("netline -o unix:/x,agent=no,"))
    assert of_files | of_sockets == SETTINGS
    assert of_files - of_sockets == {"rotate-size=", "rotate-time=", "keep=", "keep-size=", "compress="}
    assert pieces(offers("netline -o stdout,")) == pieces(offers("netline -o unix-connect:/x,")) == of_files & of_sockets
    assert pieces(offers("netline -o file:/x,keep=3,compr")) == {"compress="}


def test_values_of_settings(offers):
    assert pieces(offers("netline -o stdout,full=")) == {"block", "drop-oldest", "drop-newest"}
    assert pieces(offers("netline --output=file:/x,agent=")) == {"yes", "no"}
    assert pieces(offers("netline -o file:/x,probes=")) == PROBES - {"all"}
    assert pieces(offers("netline -o file:/x,probes=tcp_bytes+delay")) == {"delay_analysis_in", "delay_analysis_out"}
    assert pieces(offers("netline -o file:/x,keep=")) == set()
