# SPDX-License-Identifier: BSD-2-Clause
"""file: rotation, retention, gzip, and a file that cannot be written to."""
import contextlib
import gzip
import os
import resource
import shutil
import signal
import subprocess

import pytest

from cgroups import Cgroup, Place
from harness import SCALE, Agent, Namespace, of_dataset, program, wait_until
from outputs import Files, Follower, assert_balance, assert_delivered, lines_of, losses_of, output_agent
from puppet import Traffic

FLOOD = 10_000 // SCALE**2
PROBES = ("tcp_connection", "agent_status", "agent_lost", "agent_probe")


def flood(ns, connections=FLOOD):
    Traffic(ns, connections).run()


def read_only_records(files, everything, name):
    return assert_delivered(files.records(), everything, name)


def test_rotation_by_size(tmp_path):
    """No file is larger than it may be, and not a record is lost or doubled."""
    files = Files(tmp_path)
    with Namespace() as ns, output_agent("-o", f"file:{files.path},rotate-size=64K,queue=64M", "tcp_connection") as agent:
        flood(ns)
        everything = agent.stop()
    assert all(path.stat().st_size <= 65536 for path in files.all())
    assert len(files.rotated()) > FLOOD * 2 * 500 // 65536
    assert assert_delivered(files.records(), everything, f"file:{files.path}") == 0
    assert_balance(everything, f"file:{files.path}")
    assert not files.strangers()
    assert oct(files.path.stat().st_mode & 0o777) == "0o640"


def test_rotation_by_signal(tmp_path):
    """SIGHUP, again and again under load; a file without records is not rotated."""
    files = Files(tmp_path)
    with Namespace() as ns, output_agent("-o", f"file:{files.path},agent=no", "tcp_connection", "--port", "1") as agent:
        os.kill(agent.pid, signal.SIGHUP)
        everything = agent.stop()
    assert [path.stat().st_size for path in files.all()] == [0]
    follower = Follower(files.path)
    rounds = 1000 // SCALE
    with Namespace() as ns, output_agent("-o", f"file:{files.path}", "tcp_connection", "nic_throughput", "-i", "0.01", ns=ns) as agent:
        traffic = ns.popen([program("traffic"), FLOOD, 1, 1, 1, 0], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        traffic.stdin.write(b"go\n")
        traffic.stdin.flush()
        for _ in range(rounds):
            wait_until(lambda: files.path.exists() and files.path.stat().st_size, 10, "records")
            n = follower.files
            os.kill(agent.pid, signal.SIGHUP)
            wait_until(lambda: follower.files > n, 10, "the rotation")
        everything = agent.stop()
    assert len(files.rotated()) >= rounds
    assert assert_delivered(files.records(), everything, f"file:{files.path}") == 0
    assert assert_delivered(follower.stop(), everything, f"file:{files.path}") == 0


def test_rotation_by_time(tmp_path):
    """A file holds the records of one second."""
    files = Files(tmp_path)
    with Namespace() as ns, output_agent("-o", f"file:{files.path},rotate-time=1s", "nic_throughput", "-i", "0.05", ns=ns) as agent:
        wait_until(lambda: len(files.rotated()) >= 3, 20, "three rotations")
        everything = agent.stop()
    for path in files.rotated():
        seconds = [record["@timestamp"][:19] for record in of_dataset(lines_of(path.read_bytes()), "nic_throughput")]
        assert len(set(seconds)) <= 2, seconds  # what was in the queue at the turn of the second
    assert assert_delivered(files.records(), everything, f"file:{files.path}") == 0


@pytest.mark.parametrize("setting, most", [("keep=3", 3), ("keep-size=256K", 4)])
def test_retention(tmp_path, setting, most):
    """Old files go, and no others than ours."""
    files = Files(tmp_path)
    others = ["netline-20200101-000000.jsonl", "netline.jsonl.1", "netline-x.jsonl", "other-20200101-000000.000000Z.jsonl",
              "netline-20200101-000000.000000Z.jsonl.bak", "netline-20200101-000000.000000Z.txt"]
    for name in others:
        (tmp_path / name).write_text("{}\n")
    (tmp_path / "netline-20190101-000000.000000Z.jsonl").write_text("{}\n")  # as if it were ours
    (tmp_path / "netline-20190102-000000.000000Z.jsonl").mkdir()
    with Namespace() as ns, output_agent("-o", f"file:{files.path},rotate-size=64K,{setting}", "tcp_connection") as agent:
        flood(ns)
        wait_until(lambda: sum(path.is_file() for path in files.rotated()) <= most, 10, "the old ones to go")
        everything = agent.stop()
    assert {path.name for path in tmp_path.iterdir()} >= set(others)
    assert (tmp_path / "netline-20190102-000000.000000Z.jsonl").is_dir()
    left = [path for path in files.rotated() if path.is_file()]
    assert 1 <= len(left) <= most + 1, left
    kept = [record for path in [*left, files.path] for record in lines_of(path.read_bytes())]
    last = max(record["event"]["sequence"] for record in of_dataset(everything, "tcp_connection"))
    sequences = [record["event"]["sequence"] for record in of_dataset(kept, "tcp_connection")]
    assert sequences == list(range(last - len(sequences) + 1, last + 1))


def test_compress(tmp_path):
    """What was rotated a minute ago is compressed, in its place; neither younger ones nor the newest."""
    files = Files(tmp_path)
    text = b'{"old":"' + b"x" * 100_000 + b'"}\n'
    old = [tmp_path / f"netline-2020010{day}-000000.000000Z.jsonl" for day in (1, 2, 3)]
    for path in old:
        path.write_bytes(text)
    os.chmod(old[0], 0o600)
    (tmp_path / "netline-20200104-000000.000000Z.jsonl.gz.tmp").write_bytes(b"left behind")
    with Namespace() as ns, output_agent("-o", f"file:{files.path},compress", "nic_throughput", "-i", "0.1", ns=ns) as agent:
        agent.wait_for(lambda records: of_dataset(records, "nic_throughput"))
        os.kill(agent.pid, signal.SIGHUP)
        wait_until(lambda: len(list(tmp_path.glob("*.gz"))) == 3 and not any(path.exists() for path in old), 30, "three to be compressed")
        agent.stop()
    assert oct((tmp_path / (old[0].name + ".gz")).stat().st_mode & 0o777) == "0o600"
    for path in old:
        assert gzip.decompress((tmp_path / (path.name + ".gz")).read_bytes()) == text
    young, = [path for path in files.rotated() if path.suffix == ".jsonl"]
    assert lines_of(young.read_bytes())


@contextlib.contextmanager
def small_disk(folder, size="1M"):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "netline-test", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def is_retrying(agent, name):
    return lambda records: any(record["netline"].get("output", {}).get("state") == "retrying" and record["netline"]["output"]["name"] == name
                               for record in of_dataset(records, "agent_status"))


def assert_told_first(path, everything, name):
    """Before the first record that comes after a gap stands agent_lost, and totals are right in the end. How many were lost."""
    records = lines_of(path.read_bytes())
    last, told = 0, False
    for record in records:
        told = told or record["event"].get("reason") == "disk_full"
        if record["event"]["dataset"] == "netline.tcp_connection":
            assert told or record["event"]["sequence"] == last + 1, f"{last} is followed by {record['event']['sequence']}, and nothing was told before"
            last = record["event"]["sequence"]
    return assert_delivered(records, everything, name)


def test_disk_full(tmp_path):
    """Only whole lines are there at any time; what is lost is counted, and told first when there is room again."""
    disk = tmp_path / "disk"
    with small_disk(disk), Namespace() as ns:
        files, name = Files(disk), f"file:{disk / 'netline.jsonl'}"
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(700_000))
        with output_agent("-o", f"{name},queue=256K", "tcp_connection") as agent:
            wait_until(lambda: flood(ns, 20) or "No space left on device" in agent.stderr_text, 20, "the disk to be full")
            for _ in range(40):
                flood(ns, 20)
            assert lines_of(files.path.read_bytes())
            agent.wait_for(lambda records: losses_of(records, name))
            ballast.unlink()
            wait_until(lambda: "written to again" in agent.stderr_text, 10, "the recovery")
            flood(ns, 10)
            everything = agent.stop()
        assert agent.stderr_text.count("No space left") == 1
        assert assert_told_first(files.path, everything, name) > 0
        assert_balance(everything, name)


def test_file_size_limit(tmp_path):
    """RLIMIT_FSIZE: as a full disk. SIGXFSZ does not kill."""
    files = Files(tmp_path)
    name = f"file:{files.path}"
    with Namespace() as ns, output_agent("-o", f"{name},queue=128K", "tcp_connection") as agent:
        resource.prlimit(agent.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        flood(ns, 2000)
        wait_until(lambda: "File too large" in agent.stderr_text, 10, "the limit")
        assert files.path.stat().st_size <= 100_000
        resource.prlimit(agent.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_until(lambda: "written to again" in agent.stderr_text, 10, "the recovery")
        everything = agent.stop()
    assert assert_told_first(files.path, everything, name) > 0


def test_read_only(tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk, "16M"), Namespace() as ns:
        files, name = Files(disk), f"file:{disk / 'netline.jsonl'}"
        with output_agent("-o", f"{name},rotate-size=64K", "tcp_connection") as agent:
            flood(ns, 300)
            wait_until(lambda: files.rotated(), 10, "a rotation")
            (disk / "netline.jsonl").unlink()  # an open file would keep the file system from becoming read-only
            flood(ns, 1)
            wait_until(files.path.exists, 10, "the file to be made anew")
            everything = agent.stop()
        assert len(files.records()) > 0


def test_folder_removed(tmp_path):
    """The folder goes, and comes back: netline tries each second, and keeps what its queue has room for."""
    folder = tmp_path / "logs"
    folder.mkdir()
    files, name = Files(folder), f"file:{folder / 'netline.jsonl'}"
    with Namespace() as ns, output_agent("-o", name, "tcp_connection") as agent:
        flood(ns, 10)
        wait_until(lambda: files.path.exists() and files.path.stat().st_size > 10_000, 10, "records")
        before = files.records()
        shutil.rmtree(folder)
        flood(ns, 100)
        wait_until(lambda: "No such file or directory" in agent.stderr_text, 10, "the error")
        folder.mkdir()
        wait_until(lambda: "written to again" in agent.stderr_text, 10, "the recovery")
        flood(ns, 10)
        everything = agent.stop()
    assert assert_delivered(before + [r for r in files.records()], everything, name, missing=20) == 0


def test_renamed_by_others(tmp_path):
    """logrotate renames, and sends SIGHUP or not. What came between the two would be in a new file, which SIGHUP rotates: so all is written before."""
    files = Files(tmp_path)

    def written():
        return sum(path.read_bytes().count(b'"dataset":"netline.tcp_connection"') for path in tmp_path.iterdir())

    with Cgroup() as cgroup, Place(cgroup) as ns, output_agent("-o", f"file:{files.path}", "--cgroup", cgroup.path, "tcp_connection") as agent:
        for number in range(20):
            flood(ns, 20)
            wait_until(lambda: written() == 2 * 20 * (number + 1), 10, "records")
            os.rename(files.path, tmp_path / f"aside.{number:02}")
            if number % 2:
                os.kill(agent.pid, signal.SIGHUP)
                wait_until(files.path.exists, 10, "the new file")
        everything = agent.stop()
    got = [record for path in sorted(tmp_path.glob("aside.*")) for record in lines_of(path.read_bytes())] + files.records()
    assert assert_delivered(got, everything, f"file:{files.path}") == 0
    assert not files.rotated()


def test_killed(tmp_path):
    """kill -9 at any moment leaves at most one torn last line, and the next start puts that file aside."""
    files = Files(tmp_path)
    with Namespace() as ns:
        for number in range(10):
            with Agent("-o", f"file:{files.path}", "tcp_connection") as agent:
                traffic = Traffic(ns, 2000 // SCALE)
                traffic._process.stdin.write("go\n")
                traffic._process.stdin.flush()
                wait_until(lambda: files.path.stat().st_size > 20_000 * (number % 3), 10, "records")
                os.kill(agent.pid, signal.SIGKILL)
                agent._process.wait()
                traffic._process.communicate()
            data = files.path.read_bytes()
            lines_of(data[:data.rfind(b"\n") + 1])
    files.path.write_bytes(files.path.read_bytes() + b'{"torn":')
    n = len(files.rotated())
    with Agent("-o", f"file:{files.path}", "tcp_connection") as agent:
        agent.stop()
    assert len(files.rotated()) == n + 1
    assert files.rotated()[-1].read_bytes().endswith(b'{"torn":')
    assert lines_of(files.path.read_bytes())


def refused(*args):
    with Agent(*args, ready=False, agent_records=False) as agent:
        agent.stop(None, 1)
        return agent.stderr_text


def test_refused(tmp_path):
    """What is not a file of ours is not written to."""
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "fifo")
    assert "symbolic link" in refused("-o", f"file:{tmp_path}/link", "tcp_connection")
    assert "not a regular file" in refused("-o", f"file:{tmp_path}/fifo", "tcp_connection")
    assert "Is a directory" in refused("-o", f"file:{tmp_path}", "tcp_connection")
    assert "No such file" in refused("-o", f"file:{tmp_path}/no/x", "tcp_connection")
    assert not (tmp_path / "target").exists()
    with Agent("-o", f"file:{tmp_path}/x", "tcp_connection") as agent:
        assert "another process writes to it" in refused("-o", f"file:{tmp_path}/x", "tcp_connection")
        agent.stop()
