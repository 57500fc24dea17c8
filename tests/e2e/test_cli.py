# SPDX-License-Identifier: BSD-2-Clause
"""The command line: what is refused, with which exit code and which words, and the commands that need no root."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from harness import KERNEL, NETLINE, ROOT, SCHEMAS, Agent, Namespace, blocked_in, dataset_of, of_dataset, parse_lines, wait_until

USAGE, CANNOT_ATTACH = 2, 3
DEFAULT = ["nic_throughput", "tcp_connection", "tcp_bytes", "tcp_inerrs"]
PROBES = [*DEFAULT, "delay_analysis_in", "delay_analysis_out"]
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
HAS_KPROBES = pathlib.Path("/sys/bus/event_source/devices/kprobe").exists()


def netline(*args, before=(), **kw):
    kw = {"text": True, "timeout": 20, "check": False, **kw}
    return subprocess.run([*before, NETLINE, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)


def refused(args, code, message, **kw):
    """Ends with the code and one line that matches, and stdout is empty."""
    done = netline(*args, **kw)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    line, = done.stderr.splitlines()
    assert line.startswith("netline: ") and re.search(message, line), line


WRONG = [
    # Probes and words
    (["nosuch"], r"nosuch is no probe; there are nic_throughput, tcp_connection, tcp_bytes, tcp_inerrs, delay_analysis_in, delay_analysis_out and all"),
    (["tcp_connect"], r"tcp_connect is no probe; there are nic_throughput, tcp_connection, tcp_bytes, tcp_inerrs, delay_analysis_in, delay_analysis_out and all"),
    (["nic_throughput", "nosuch"], r"nosuch"),
    (["all", "nosuch"], r"nosuch"),
    ([""], r"probe"),
    (["181"], r"181.*--pid 181"),
    (["lo"], r"lo.*--nic lo"),
    (["tcp_connection", "lo"], r"lo.*--nic lo"),
    (["nic_throughput"] * 17, r"too many"),
    # Options
    (["--nosuch"], r"--nosuch"),
    (["--nosuch=1"], r"--nosuch"),
    (["-z"], r"-z"),
    (["-zq"], r"-z"),
    (["-q", "-zv"], r"-z"),
    (["--quiet=1"], r"--quiet"),
    (["--ve"], r"--ve"),
    (["nic_throughput", "--nosuch"], r"--nosuch"),
    # Filters
    (["--nic", "nosuch0"], r"nosuch0.*\blo\b"),
    (["--nic", "lo,nosuch0"], r"nosuch0.*\blo\b"),
    (["--nic", "nosuch0", "nic_throughput"], r"nosuch0.*\blo\b"),
    (["--nic", ""], r"--nic"),
    (["--nic", "lo,"], r"--nic"),
    (["--nic", ",lo"], r"--nic"),
    (["--nic", "a-name-of-16-byte"], r"--nic a-name-of-16-byte"),
    (["-n", ",".join(f"n{i}" for i in range(65))], r"--nic.*64"),
    (["--pid", "abc"], r"--pid abc"),
    (["--pid", "0"], r"--pid 0"),
    (["--pid", "-1"], r"--pid -1"),
    (["--pid", "1.5"], r"--pid 1\.5"),
    (["--pid", "1x"], r"--pid 1x"),
    (["--pid", " 1"], r"--pid"),
    (["--pid", "+1"], r"--pid \+1"),
    (["--pid", "0x10"], r"--pid 0x10"),
    (["--pid", "4194305"], r"--pid 4194305"),
    (["--pid", "18446744073709551617"], r"--pid 18446744073709551617"),
    (["--pid", "1,,2"], r"--pid"),
    (["--pid", "1,"], r"--pid"),
    (["--pid", ","], r"--pid"),
    (["--pid", ""], r"--pid"),
    (["-p", ",".join(map(str, range(1, 66)))], r"--pid.*64"),
    (["--port", "0"], r"--port 0"),
    (["--port", "65536"], r"--port 65536"),
    (["--port", "http"], r"--port http"),
    (["-P", "80,443,"], r"--port"),
    (["-sp", "0"], r"--sport 0"),
    (["-dp", "80,"], r"--dport"),
    (["-sp", ",".join(map(str, range(1, 66)))], r"--sport.*64"),
    (["--exclude-port", "ssh"], r"--exclude-port ssh"),
    (["--sample=0"], r"--sample 0"),
    (["-s", "100"], r"100: no such probe; for one packet in 100 use --sample=100$"),
    (["--sample", "100", "tcp_connection"], r"100: no such probe; for one packet in 100 use --sample=100$"),
    (["-s100", "181"], r"181 is no probe.*--pid 181"),
    (["--min-latency", "0"], r"--min-latency 0"),
    (["--min-latency", "1", "--summary"], r"--min-latency .*not with --summary"),
    (["--netns", "web"], r"--netns web: all\b"),
    (["--direction", "x"], r"--direction x.*connect.*accept"),
    (["-r", ""], r"--direction.*connect.*accept"),
    (["-4", "-6"], r"ipv4.*ipv6"),
    (["--ipv6", "--ipv4"], r"ipv4.*ipv6"),
    (["--cgroup", "/nosuch"], r"--cgroup /nosuch"),
    (["--cgroup", "/"], r"--cgroup /.*cgroup v2"),
    (["--cgroup", "/proc/self/status"], r"--cgroup"),
    (["--cgroup", "0"], r"--cgroup 0"),
    (["--cgroup", ""], r"--cgroup"),
    # Filters that a probe cannot apply
    (["--pid", "1", "nic_throughput"], r"nic_throughput.*--pid"),
    (["--port", "80", "tcp_connection", "nic_throughput"], r"nic_throughput.*--port"),
    (["-4", "nic_throughput"], r"nic_throughput.*--ipv4"),
    (["--direction", "accept", "nic_throughput"], r"nic_throughput.*--direction"),
    (["--cgroup", "1", "all"], r"nic_throughput.*--cgroup"),
    (["--nic", "lo", "tcp_connection"], r"tcp_connection.*--nic"),
    (["--nic", "lo", "--pid", "1"], r"--nic.*--pid"),
    (["-sp", "80"], r"no probe .*can apply .*--sport|no probe of the default set can apply --sport; .* can: name"),
    (["-sp", "80", "tcp_connection"], r"tcp_connection cannot apply --sport$"),
    (["--sample", "--summary", "all"], r"cannot apply --sample, --summary$"),
    # Settings
    (["--interval", "lo"], r"--interval lo.*--nic lo"),
    (["-i", "lo"], r"--interval lo.*--nic lo"),
    (["-i", "nosuch0"], r"--interval nosuch0"),
    (["-i", "0"], r"--interval 0"),
    (["-i", "0.001"], r"--interval 0\.001"),
    (["-i", "-1"], r"--interval -1"),
    (["-i", "1s"], r"--interval 1s"),
    (["-i", "1,5"], r"--interval 1,5"),
    (["-i", "."], r"--interval \."),
    (["-i", "86401"], r"--interval 86401"),
    (["-i", ""], r"--interval"),
    (["-i", "99999999999999999999"], r"--interval 9+"),
    (["--duration", "x"], r"--duration x"),
    (["--duration", "0"], r"--duration 0"),
    (["--count", "0"], r"--count 0"),
    (["--count", "-5"], r"--count -5"),
    (["--count", "many"], r"--count many"),
    (["--count", "9223372036854775808"], r"--count 9223372036854775808"),
    (["--attach", "bogus"], r"--attach bogus.*fentry.*kprobe.*tracepoint"),
    (["--attach", ""], r"--attach.*fentry"),
    (["--label", "env"], r"--label env.*KEY=VALUE"),
    (["--label", "=x"], r"--label =x"),
    (["--label", "env="], r"--label env="),
    (["--label", "a=1", "--label", "b=2", "--label", "a=3"], r"--label a=3"),
    (["--label", "a.b=1"], r"--label a\.b=1.*dot"),
    (["--label", "a=" + 2100 * "x"], r"--label.*2048"),
    (sum((["--label", f"k{i}=v"] for i in range(65)), []), r"--label.*64"),
    (["--host", ""], r"--host"),
    (["--host", 256 * "h"], r"--host"),
    (["--ring-size", "5000"], r"--ring-size 5000.*power of two"),
    (["--ring-size", "2048"], r"--ring-size 2048"),
    (["--ring-size", "64k5"], r"--ring-size 64k5"),
    (["--ring-size", "2G"], r"--ring-size 2G"),
    (["--ring-size", "18014398509481985K"], r"--ring-size"),
    (["--ring-size", "K"], r"--ring-size K"),
    # Outputs
    (["-o", "nosuch"], r"--output nosuch.*stdout"),
    (["-o", "/tmp/records.jsonl"], r"/tmp/records\.jsonl"),
    (["-o", ""], r"--output"),
    (["-o", "stdout,"], r"--output"),
    (["-o", "stdout,full"], r"--output.*full"),
    (["-o", "stdout,full=never"], r"--output: full never: block, drop-oldest or drop-newest$"),
    (["-o", "stdout,agent=maybe"], r"--output: agent maybe: yes or no$"),
    (["-o", "stdout,queue=1"], r"--output.*queue"),
    (["-o", "stdout,queue=lots"], r"--output.*queue"),
    (["-o", "stdout,nosuch=1"], r"--output.*nosuch"),
    (["-o", "stdout,probes=nosuch"], r"--output.*nosuch"),
    (["-o", "stdout", "-o", "stdout"], r"--output"),
    # Commands
    (["schema", "nosuch"], r"schema nosuch"),
    (["schema", "nic_throughput", "tcp_connection"], r"schema.*one"),
    (["schema", "--json"], r"--json.*list"),
    (["list", "nic_throughput"], r"list.*nic_throughput"),
    (["--json"], r"--json.*list"),
    (["--json", "nic_throughput"], r"--json.*list"),
    (["--write", "/tmp"], r"--write.*schema"),
    (["list", "--write", "/tmp"], r"--write.*schema"),
]


@pytest.mark.any_kernel
@pytest.mark.parametrize("args, message", WRONG, ids=[" ".join(args)[:40] or "empty" for args, _ in WRONG])
def test_wrong_usage(args, message):
    refused(args, USAGE, message)


def options():
    """{long name: (letters or None, the argument that it needs or None)} as --help names them."""
    rows = re.findall(r"^  (?:-(\w\w?),|   ) --([a-z][a-z0-9-]+)(?:\[=N\])?(?: ([^ a-z]\S*|\w+\|\S+|all))?(?= )",
                      netline("--help").stdout, re.M)
    return {name: (letters or None, argument or None) for letters, name, argument in rows}


@pytest.mark.any_kernel
def test_help_names_every_option():
    assert {"nic", "pid", "port", "direction", "ipv4", "ipv6", "cgroup", "interval", "attach", "output", "label", "host", "count", "duration",
            "ring-size", "sport", "dport", "exclude-port", "sample", "min-latency", "summary", "netns", "json", "quiet", "verbose", "version",
            "help"} <= set(options())
    letters = {letter: name for name, (letter, _) in options().items() if letter}
    expected = {"n": "nic", "i": "interval", "p": "pid", "P": "port", "r": "direction", "4": "ipv4", "6": "ipv6", "o": "output", "q": "quiet",
                "v": "verbose", "V": "version", "h": "help", "sp": "sport", "dp": "dport", "s": "sample"}
    assert {**letters, **expected} == letters
    shown = netline("-h")
    assert (shown.returncode, shown.stderr) == (0, "") and shown.stdout == netline("--help").stdout
    assert all(probe in shown.stdout for probe in [*PROBES, "all"])
    assert all(len(line) <= 160 for line in shown.stdout.splitlines())


@pytest.mark.any_kernel
def test_missing_arguments():
    """Of every option that needs one, by its long and its short name; one of two letters is told by the long one."""
    taking = {name: letters for name, (letters, argument) in options().items() if argument}
    assert len(taking) >= 12
    for name, letters in taking.items():
        refused([f"--{name}"], USAGE, rf"--{name}.*argument")
        if letters:
            told = f"-{letters}" if len(letters) == 1 else f"--{name}"
            refused(["-q", f"-{letters}"], USAGE, rf"{told}\b.*argument")


def test_unknown_nic_names_those_that_exist():
    with Namespace() as a:
        a.run(["ip", "link", "add", "here0", "type", "veth", "peer", "name", "here1"])
        done = a.run([NETLINE, "--nic", "gone0"], check=False)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert all(name in done.stderr for name in ("gone0", "lo", "here0", "here1"))


# Attaching

@pytest.mark.parametrize("way", ["fentry", "kprobe"])
def test_attach_of_a_named_probe(way):
    """In a way that the kernel has, or lacks."""
    if "way" in listed("--attach", way)["tcp_connection"]:
        done = netline("--attach", way, "--duration", "0.1", "tcp_connection")
        assert done.returncode == 0 and f"ready: tcp_connection ({way})" in done.stderr
    else:
        refused(["--attach", way, "tcp_connection"], CANNOT_ATTACH, rf"tcp_connection.*{way}: the kernel")


@pytest.mark.parametrize("way", ["fentry", "kprobe"])
def test_attach_of_a_named_probe_that_has_no_such_way(way):
    refused(["--attach", way, "nic_throughput"], CANNOT_ATTACH, rf"nic_throughput.*{way}")


@pytest.mark.parametrize("way", ["fentry", "kprobe"])
def test_attach_with_the_default_set(way):
    """What has the way runs; if nothing has, that is told."""
    done = netline("--attach", way, "--duration", "0.2")
    if listed("--attach", way)["tcp_connection"].get("way") == way:
        assert done.returncode == 0 and re.search(rf"ready.*tcp_connection \({way}\)", done.stderr)
    else:
        assert (done.returncode, done.stdout) == (CANNOT_ATTACH, "")
        assert all(re.search(rf"{probe}.*{way}", done.stderr) for probe in DEFAULT), done.stderr


def test_tracepoint_is_a_way_of_every_probe():
    """But of tcp_inerrs only where the kernel says why TCP drops a packet."""
    probes = [probe for probe in DEFAULT if probe != "tcp_inerrs" or KERNEL >= (5, 19)]
    done = netline("--attach", "tracepoint", "--duration", "0.2")
    assert done.returncode == 0
    assert f"ready: {', '.join(f'{probe} (tracepoint)' for probe in probes)}" in done.stderr


def listed(*args):
    return {entry["name"]: entry for entry in json.loads(netline("list", "--json", *args).stdout)}


def test_list():
    done = netline("list")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == PROBES
    entries = listed()
    assert list(entries) == PROBES
    for line, entry in zip(done.stdout.splitlines(), entries.values()):
        assert entry["way"] in line and all(hook in line for hook in entry["hooks"])
        assert entry["way"] in ("fentry", "kprobe", "tracepoint")
    assert entries["nic_throughput"]["way"] == "tracepoint"
    assert entries["nic_throughput"]["hooks"] == ["net_dev_start_xmit", "netif_receive_skb"], "a list, as in agent_probe"
    assert HAS_KPROBES or entries["tcp_connection"]["way"] != "kprobe"


def test_list_agrees_with_agent_probe():
    with Agent("all") as agent:
        agent.wait_for(lambda records: len(of_dataset(records, "agent_probe")) == len(PROBES))
        probes = [r["netline"]["probe"] for r in of_dataset(agent.stop(), "agent_probe")][:len(PROBES)]
    assert sorted(probes, key=lambda probe: PROBES.index(probe["name"])) == list(listed().values())


def test_a_filter_shrinks_the_default_set():
    of_connections = {"tcp_connection", "tcp_bytes", "tcp_inerrs"}
    for args, runs in ((["--pid", os.getpid()], of_connections), (["--nic", "lo"], {"nic_throughput"}), (["--ipv6"], of_connections),
                       (["--direction", "accept"], {"tcp_connection"})):
        done = netline(*map(str, args), "--duration", "0.2")
        assert done.returncode == 0
        told, = re.findall(r"^netline: ready.*", done.stderr, re.M)
        assert {probe for probe in PROBES if probe in told} == runs
        assert [line for line in done.stderr.splitlines()
                if "ready" not in line and all(probe in line for probe in runs) and args[0] in line], done.stderr


# Permissions

@pytest.fixture(name="anywhere")
def binary_that_nobody_may_run():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield shutil.copy(NETLINE, folder)


def as_nobody(path, *args, caps=(), before=()):
    return subprocess.run([*before, *NOBODY, *caps, path, *args], capture_output=True, text=True, timeout=20, check=False, cwd="/")


@pytest.mark.parametrize("args", [[], ["tcp_connection"], ["-q"]], ids=["default", "named", "quiet"])
def test_without_permission(anywhere, args):
    done = as_nobody(anywhere, *args)
    assert (done.returncode, done.stdout) == (CANNOT_ATTACH, "")
    line, = done.stderr.splitlines()
    assert re.search(r"permission.*root.*CAP_BPF", line)


@pytest.mark.any_kernel
def test_wrong_usage_comes_before_permission(anywhere):
    done = as_nobody(anywhere, "--pid", "abc")
    assert (done.returncode, done.stdout) == (USAGE, "") and "--pid abc" in done.stderr


@pytest.mark.any_kernel
def test_what_needs_no_root(anywhere):
    for args in (["schema"], ["schema", "tcp_connection"], ["--help"], ["--version"]):
        done = as_nobody(anywhere, *args)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == netline(*args).stdout != ""


def test_list_without_permission_says_why(anywhere):
    done = as_nobody(anywhere, "list")
    assert (done.returncode, done.stderr) == (0, "")
    for probe, line in zip(PROBES, done.stdout.splitlines(), strict=True):
        assert re.search(rf"^{probe}\s+unavailable\s.*permission", line)
    for entry in json.loads(as_nobody(anywhere, "list", "--json").stdout):
        assert set(entry) == {"name", "unavailable"} and "permission" in entry["unavailable"]


def test_two_capabilities_are_enough(anywhere):
    caps = ["--inh-caps=-all,+bpf,+perfmon", "--ambient-caps=+bpf,+perfmon"]
    lift = ["prlimit", "--memlock=unlimited"] if KERNEL < (5, 11) else []  # see the next test
    done = as_nobody(anywhere, "--count", "2", "--interval", "0.05", caps=caps, before=lift)
    assert done.returncode == 0, done.stderr
    assert len([r for r in parse_lines(done.stdout.encode()) if dataset_of(r) != "netline.agent_lost"]) == 2
    assert all(probe in done.stderr for probe in DEFAULT)


@pytest.mark.any_kernel
def test_check(anywhere):
    """Needs no permission; all mistakes are told with the file and their place in it, also those about the machine."""
    path = pathlib.Path(anywhere).with_name("c.json")
    path.write_text('{"probes": {"nic_throughput": {"nic": "lo"}, "tcp_bytes": {}}, "outputs": [{"output": "file:/x", "keep": 3}]}', encoding="ascii")
    done = as_nobody(anywhere, "--config", path, "--check")
    assert (done.returncode, done.stdout) == (0, "") and re.fullmatch(r"netline: \S*c.json: nothing is wrong with it\n", done.stderr), done
    path.write_text('{"probes": {"nic_throughput": {"nic": "nosuch0"}, "tcp_bytes": {"attach": "tracepoint"}, "delay_analysis_in": {"nic": "nosuch1"}}}', encoding="ascii")
    done = as_nobody(anywhere, "--config", path, "--check")
    assert done.returncode == USAGE
    first, second = done.stderr.splitlines()
    assert re.search(r"c.json: nic_throughput: nic nosuch0: .*\blo\b", first) and re.search(r"c.json: delay_analysis_in: nic nosuch1: .*\blo\b", second)


def test_limit_of_locked_memory(anywhere):
    """Before 5.11 maps count as locked memory of a process that may not lift the limit itself."""
    caps = ["--inh-caps=-all,+bpf,+perfmon", "--ambient-caps=+bpf,+perfmon"]
    done = as_nobody(anywhere, "--duration", "0.1", "tcp_connection", caps=caps, before=["prlimit", "--memlock=65536"])
    if KERNEL >= (5, 11):
        assert done.returncode == 0, done.stderr
    else:
        line, = done.stderr.splitlines()
        assert (done.returncode, done.stdout) == (CANNOT_ATTACH, "") and "limit of locked memory is too low: ulimit -l unlimited" in line


# Commands

@pytest.mark.any_kernel
def test_schema_is_the_committed_one():
    for name in SCHEMAS:
        assert netline("schema", name).stdout == (ROOT / "schema" / f"{name}.json").read_text()
    together = json.loads(netline("schema").stdout)
    assert together == {name: json.loads((ROOT / "schema" / f"{name}.json").read_text()) for name in SCHEMAS}


@pytest.mark.any_kernel
def test_version():
    for option in ("--version", "-V"):
        done = netline(option)
        assert (done.returncode, done.stderr) == (0, "") and re.fullmatch(r"netline \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.any_kernel
@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["schema"], ["--help"], ["--version"]], ids=" ".join)
def test_commands_tell_that_the_disk_is_full(command):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([NETLINE, *command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20, check=False)
    assert done.returncode == 1


# Runs

@pytest.mark.any_kernel
def test_quiet_and_verbose():
    run = ["--count", "1", "--interval", "0.05", "nic_throughput"]
    normal, quiet, verbose = netline(*run), netline("-q", *run), netline("-v", *run)
    assert {done.returncode for done in (normal, quiet, verbose)} == {0}
    ready, end = normal.stderr.splitlines()
    assert re.match(r"netline: ready: nic_throughput \(tracepoint\)$", ready)
    assert re.search(r"1 records?, 0 lost", end)
    assert quiet.stderr == ""
    assert ready in verbose.stderr.splitlines()
    for done in (normal, quiet, verbose):
        assert len(parse_lines(done.stdout.encode())) == 1


def test_verbose_says_why_a_way_was_not_taken():
    done = netline("-v", "--duration", "0.1", "tcp_connection")
    way = listed()["tcp_connection"]["way"]
    for better in ("fentry", "kprobe", "tracepoint")[:("fentry", "kprobe", "tracepoint").index(way)]:
        assert re.search(rf"tcp_connection: {better}: \S", done.stderr), done.stderr


@pytest.mark.any_kernel
@pytest.mark.parametrize("count", [1, 5, 100])
def test_count(count):
    done = netline("--count", str(count), "--interval", "0.02", "nic_throughput")
    assert done.returncode == 0
    assert len(parse_lines(done.stdout.encode())) == count


@pytest.mark.any_kernel
def test_count_leaves_agent_records_out():
    done = netline("--count", "3", "--interval", "0.05", "-o", "stdout,agent=yes", "nic_throughput")
    records = parse_lines(done.stdout.encode())
    assert len(of_dataset(records, "nic_throughput")) == 3 < len(records)
    counters = [r["netline"]["events"] for r in records if r["netline"].get("scope") == "probe"][-1]
    assert counters["produced"] == counters["emitted"] + counters["filtered"] + counters["lost"] and counters["emitted"] == 3


def test_duration():
    done = netline("--duration", "0.5", "--interval", "0.1", "nic_throughput")
    assert done.returncode == 0
    records = parse_lines(done.stdout.encode())
    lengths = {r["@timestamp"]: r["event"]["duration"] for r in records}
    assert 0.45e9 < sum(lengths.values()) < 1.5e9
    assert 4 <= len(lengths) <= 7


@pytest.mark.any_kernel
def test_probes_named_twice_run_once():
    done = netline("--duration", "0.1", "-q", "-o", "stdout,agent=yes", "nic_throughput", "all", "nic_throughput")
    attached = [r["netline"]["probe"]["name"] for r in parse_lines(done.stdout.encode()) if r["event"]["action"] == "probe-attached"]
    assert sorted(attached) == sorted(PROBES)


@pytest.mark.any_kernel
def test_output_takes_only_its_probes():
    done = netline("--duration", "0.2", "--interval", "0.05", "-o", "stdout,probes=tcp_connection")
    assert done.returncode == 0
    assert "netline.nic_throughput" not in map(dataset_of, parse_lines(done.stdout.encode()))


@pytest.mark.any_kernel
def test_labels_and_host_are_escaped():
    key, value = 'k"\\\n', b'a"b\\c\td\x01\xff\xc3\xa9'
    done = subprocess.run([NETLINE, "--count", "1", "--interval", "0.05", "--host", 'h"\\', "--label", key.encode() + b"=" + value, "-q",
                           "nic_throughput"], capture_output=True, timeout=20, check=True)
    record, = parse_lines(done.stdout)
    assert record["labels"] == {key: 'a"b\\c\td\x01\ufffd\u00e9'}
    assert record["host"]["name"] == 'h"\\'


def test_cgroup_path_and_id_are_the_same():
    mounts = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"]
    if not mounts:
        pytest.skip("no cgroup v2 is mounted")
    path = pathlib.Path(mounts[0]) / f"netline-test-{os.getpid()}"
    path.mkdir()
    try:
        for argument in (path, path.stat().st_ino):
            done = netline("--cgroup", str(argument), "--duration", "0.1", "tcp_connection")
            assert done.returncode == 0, done.stderr
    finally:
        path.rmdir()


@pytest.mark.any_kernel
def test_sighup_ends_a_run():
    with Agent("nic_throughput") as agent:
        agent.stop(signal.SIGHUP)


@pytest.mark.any_kernel
def test_a_second_interrupt_ends_it_at_once():
    """The first waits for a reader that is stuck; the user who asks again wants out."""
    read_end, write_end = os.pipe()
    try:
        with Agent("--interval", "0.01", "nic_throughput", stdout=write_end) as agent:
            wait_until(lambda: blocked_in(agent.pid, "write", "writev"), 10, "netline to wait for its reader")
            os.kill(agent.pid, signal.SIGINT)
            wait_until(lambda: not bpf_links(agent.pid), 5, "the probes to be detached")
            assert agent.returncode is None
            os.kill(agent.pid, signal.SIGINT)
            wait_until(lambda: agent.returncode is not None, 1, "netline to end")
            assert agent.returncode == 130
    finally:
        os.close(read_end)
        os.close(write_end)


def bpf_links(pid):
    found = []
    for path in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if "bpf_link" in os.readlink(path):
                found.append(path)
    return found
