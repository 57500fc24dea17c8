# SPDX-License-Identifier: BSD-2-Clause
"""The unit that is shipped, as systemd's own tools see it; tests/vm/test_under_systemd.py runs it."""
import json
import re
import shutil
import subprocess

import pytest

from harness import NETLINE, ROOT

FOLDER = ROOT / "contrib/systemd"
MOST_EXPOSED = 2.5  # 0 to 10; newer releases of systemd look at more

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed (package systemd)")


def call(*argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def unit(folder):
    """With this build, and a user that there is: what verify would only complain of because nothing is installed."""
    text = (FOLDER / "netline.service").read_text().replace("/usr/local/bin/netline", str(NETLINE))
    path = folder / "netline.service"
    path.write_text(re.sub(r"^(User|Group)=netline$", r"\1=root", text, flags=re.M))
    return path


@pytest.mark.parametrize("drop_in", [None, "netns-all.conf"])
def test_verify(tmp_path, drop_in):
    """Not one word."""
    path = unit(tmp_path)
    if drop_in:
        (tmp_path / "netline.service.d").mkdir()
        text = (FOLDER / drop_in).read_text().replace("/usr/local/bin/netline", str(NETLINE))
        (tmp_path / "netline.service.d" / drop_in).write_text(text)
    done = call("systemd-analyze", "verify", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_security():
    done = call("systemd-analyze", "security", "--offline=yes", "--no-pager", FOLDER / "netline.service")
    if re.search("offline", done.stderr):
        pytest.skip("systemd-analyze security has no --offline (before systemd 250)")
    exposed = re.search(r"Overall exposure level for netline.service: ([\d.]+)", done.stdout)
    assert exposed and float(exposed[1]) <= MOST_EXPOSED, done.stdout + done.stderr


def test_user(tmp_path):
    """The line for systemd-sysusers makes the user that the unit names."""
    (tmp_path / "etc").mkdir()
    done = call("systemd-sysusers", f"--root={tmp_path}", FOLDER / "netline.sysusers")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^netline:[^:]*:\d+:\d+:[^:]*:/:\S*/nologin$", (tmp_path / "etc/passwd").read_text(), re.M)
    assert re.search(r"^netline:", (tmp_path / "etc/group").read_text(), re.M)


def test_configuration():
    """netline's own word on the file that is shipped, which says the folders that the unit makes."""
    done = call(NETLINE, "--config", FOLDER / "netline.json", "--check")
    assert done.returncode == 0, done.stderr
    paths = [output["output"].split(":")[1] for output in json.loads((FOLDER / "netline.json").read_text())["outputs"]]
    text = (FOLDER / "netline.service").read_text()
    for path in paths:
        kind, folder = re.fullmatch(r"/(var/log|run)/(\w+)/[\w.]+", path).groups()
        assert f"\n{ {'var/log': 'Logs', 'run': 'Runtime'}[kind]}Directory={folder}\n" in text
