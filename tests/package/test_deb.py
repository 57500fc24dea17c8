# SPDX-License-Identifier: BSD-2-Clause
"""The Debian package: built by a user from the sources alone, then installed, used, removed and purged in a Debian 12 of its own."""
import concurrent.futures
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests"))

from debian import KEYRING, mirror  # noqa: E402

BASE, ROOT = TOP / "build/debian12", TOP / "build/debian12-installed"
VERSION = re.search(r'#define NETLINE_VERSION "(.+)"', (TOP / "agent/config.h").read_text())[1]
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
LIMIT = 300

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-buildpackage"), reason="dpkg-buildpackage is not installed: this is not Debian")


def call(*argv, code=0, **kw):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False, **kw)
    assert code is None or done.returncode == code, f"{argv}: {done.returncode}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done


def remove(folder):
    call("rm", "-rf", "--one-file-system", folder)


def make_base():
    if not (BASE / "complete").exists():
        remove(BASE)
        call("debootstrap", "--variant=minbase", f"--keyring={KEYRING}", "bookworm", BASE, mirror())
        (BASE / "complete").touch()


def make_deb(folder):
    """As a user without rights, from a copy that has no build of this tree."""
    call("sh", "-c", 'tar -c -C "$0" --exclude=./build --exclude=./.git . | tar -x -C "$1" && chown -R 65534:65534 "$1"', TOP, folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return call(*NOBODY, "make", "deb", cwd=folder, env={**environment, "HOME": folder}).stdout


@pytest.fixture(name="deb", scope="module")
def built():
    """The .deb, and all that stands beside it."""
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor() as pool:
        base = pool.submit(make_base)
        told = pool.submit(make_deb, folder).result()
        base.result()
        yield Path(folder) / told.splitlines()[-1]


@pytest.fixture(name="root", scope="module")
def copied(deb):
    """A Debian 12 of which nothing is left afterwards."""
    remove(ROOT)
    call("cp", "-a", BASE, ROOT)
    shutil.copy(deb, ROOT / "root")
    yield ROOT
    remove(ROOT)


def inside(root, command, **kw):
    """Runs a shell command in the root, in a mount namespace of its own, so that no mount is left behind."""
    script = 'mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && mount --bind /dev "$0/dev" && exec chroot "$0" sh -c "$1"'
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    return call("unshare", "--mount", "sh", "-c", script, root, command, env=environment, **kw)


def test_name_and_version(deb):
    assert re.fullmatch(rf"netline_{re.escape(VERSION)}_\w+\.deb", deb.name)
    assert call("dpkg-deb", "--field", deb, "Version").stdout.strip() == VERSION


@pytest.mark.skipif(not shutil.which("lintian"), reason="lintian is not installed")
def test_lintian(deb):
    """Not one word, and nothing is overridden."""
    changes, = deb.parent.glob("*.changes")
    done = call("lintian", "--allow-root", "--fail-on", "warning,error", changes)
    assert done.stdout + done.stderr == ""
    assert not list((TOP / "contrib/packaging/debian").rglob("*lintian-overrides"))


def test_is_hardened(deb, tmp_path):
    """Debian's flags have come to the compiler and the linker; the folder of the build is told nowhere."""
    call("dpkg-deb", "-x", deb, tmp_path)
    told = call("readelf", "--wide", "--file-header", "--dynamic", "--dyn-syms", tmp_path / "usr/bin/netline").stdout
    assert re.search(r"FLAGS_1.*\bNOW PIE\b", told) and "__printf_chk" in told and "__stack_chk_fail" in told
    assert bytes(deb.parents[2]) not in (tmp_path / "usr/bin/netline").read_bytes()


def test_install(root, deb):
    done = inside(root, f"apt-get update -q && apt-get install -q -y --no-install-recommends /root/{deb.name}")
    assert "Setting up netline" in done.stdout
    assert inside(root, "netline --version").stdout == f"netline {VERSION}\n"


def test_user(root):
    user = re.search(r"^netline:.*", (root / "etc/passwd").read_text(), re.M)[0].split(":")
    assert int(user[2]) < 1000 and user[6].endswith("/nologin")
    assert re.search(rf"^netline:.*:{user[3]}:", (root / "etc/group").read_text(), re.M)


def test_service_is_there_and_off(root):
    unit = (root / "lib/systemd/system/netline.service").read_text()
    assert unit == (TOP / "contrib/systemd/netline.service").read_text().replace("/usr/local/bin/", "/usr/bin/")
    assert inside(root, "systemctl is-enabled netline", code=1).stdout == "disabled\n"
    done = inside(root, "systemd-analyze verify --man=no /lib/systemd/system/netline.service")
    assert "netline" not in done.stdout + done.stderr
    assert "/usr/bin/netline" in (root / "usr/share/doc/netline/examples/netns-all.conf").read_text()


def test_configuration(root):
    assert "/etc/netline/netline.json" in inside(root, "dpkg-query --show --showformat '${Conffiles}' netline").stdout
    done = inside(root, "netline --config /etc/netline/netline.json --check")
    assert "nothing is wrong" in done.stderr


def test_man_pages(root):
    for page in ("man1/netline.1", "man5/netline-records.5"):
        assert gzip.decompress((root / f"usr/share/man/{page}.gz").read_bytes()) == (TOP / "contrib/man" / page.split("/")[1]).read_bytes()


def test_completion(root):
    """Where the shells of Debian look for it."""
    places = {"netline.bash": "bash-completion/completions/netline", "_netline": "zsh/vendor-completions/_netline",
              "netline.fish": "fish/vendor_completions.d/netline.fish"}
    for name, place in places.items():
        assert (root / "usr/share" / place).read_bytes() == (TOP / "contrib/completion" / name).read_bytes()


def test_documents(root):
    documents = {path.name for path in (root / "usr/share/doc/netline").iterdir()}
    assert documents >= {"README.md.gz", "changelog.gz", "copyright", "examples", "guides", "netline-report.html"} and "LICENSE" not in documents
    assert {path.name for path in (root / "usr/share/netline/jq").iterdir()} == {path.name for path in (TOP / "contrib/jq").glob("*.jq")}


def test_loads_its_templates(root):
    """There is no clone beside the package's copy of the script; a curl that does nothing stands for the server."""
    (root / "root/curl").write_text('#!/bin/sh\necho "$@" >> /root/asked\nprintf "\\n200"\n')
    (root / "root/curl").chmod(0o755)
    inside(root, "PATH=/root:$PATH /usr/share/doc/netline/examples/elasticsearch/load http://127.0.0.1:9200")
    asked = re.findall(r"--data-binary @/usr/share/netline/schema/elasticsearch/(\S+)", (root / "root/asked").read_text())
    assert sorted(asked) == sorted(path.name for path in (TOP / "schema/elasticsearch").glob("*.json"))


def test_runs(root):
    """On this kernel, with Debian's libraries; its records fit the schemas of the package."""
    done = inside(root, "netline nic_throughput --count 2 --interval 0.1")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == 2, done.stderr
    schema = json.loads((root / "usr/share/netline/schema/nic_throughput.json").read_text())
    for record in records:
        jsonschema.Draft202012Validator(schema).validate(record)


def files_of_package(root):
    return [path for path in map(root.__truediv__, inside(root, "dpkg -L netline | sed s,^/,,").stdout.split()) if not path.is_dir()]


def test_remove_and_purge(root):
    """A configuration that was changed is kept until the purge, which takes the records, too; the user stays."""
    files, configuration = files_of_package(root), root / "etc/netline/netline.json"
    assert len(files) > 50 and configuration in files
    configuration.write_text('{ "probes": { "tcp_bytes": {} } }\n')
    (root / "var/log/netline").mkdir()
    (root / "var/log/netline/netline.jsonl").touch()
    inside(root, "apt-get remove -q -y netline")
    assert [path for path in files if path.exists()] == [configuration]
    assert "tcp_bytes" in configuration.read_text() and (root / "var/log/netline/netline.jsonl").exists()
    inside(root, "apt-get purge -q -y netline")
    folders = ["etc/netline", "usr/share/netline", "usr/share/doc/netline", "var/log/netline"]
    assert not configuration.exists() and not [folder for folder in folders if (root / folder).exists()]
    assert re.search("^netline:", (root / "etc/passwd").read_text(), re.M)
    assert not list((root / "var/lib/dpkg/info").glob("netline.*"))
