#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The guest's first process (or systemd's only service): sets the system up, runs the job that the kernel's command line names, tells the results, and ends the machine.

Results go to the second serial port as sections, `=== NAME BYTES` and so many bytes; the last is `end`. What is printed on the way goes to the console.
"""
import ctypes
import json
import os
import re
import subprocess
import sys
import time
import traceback
import tty
from pathlib import Path

TOP = Path("/netline")
NETLINE = TOP / "build/static/netline"
PASSED, FAILED = 16, 17
MARK = "netline: the tests begin"
MS_REC, MS_SHARED = 0x4000, 1 << 20
MOUNTS = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("devpts", "/dev/pts"), ("tmpfs", "/run"), ("tmpfs", "/tmp"),
          ("bpf", "/sys/fs/bpf"), ("cgroup2", "/sys/fs/cgroup"), ("tracefs", "/sys/kernel/tracing"), ("securityfs", "/sys/kernel/security")]
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "HOME": "/root", "LANG": "C.UTF-8", "NETLINE": str(NETLINE), "PYTHONDONTWRITEBYTECODE": "1",
               "NETLINE_SCALE": "4"}
WAYS = ["tracepoint", "fentry", "kprobe"]  # a test for which any will do runs by the first that its probe has
LIBC = ctypes.CDLL(None, use_errno=True)


def mount_all():
    for kind, path in MOUNTS:
        os.makedirs(path, exist_ok=True)
        if LIBC.mount(kind.encode(), path.encode(), kind.encode(), 0, None):
            print(f"guest: cannot mount {kind}: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False)
    LIBC.mount(None, b"/", None, MS_REC | MS_SHARED, None)


def tell(name, data):
    with open("/dev/ttyS1", "wb", buffering=0) as port:
        tty.setraw(port)
        data = f"=== {name} {len(data)}\n".encode() + data + b"\n"
        while data:
            data = data[port.write(data):]


def job():
    """fentry, kprobe or tracepoint: the tests of every probe that has this way here. system: what does not depend on a way. systemd: as its service.
    Or [WAY:]FILES of tests, a pattern."""
    return re.search(r"netline\.job=(\S+)", Path("/proc/cmdline").read_text())[1]


def offers(way):
    """What `netline list` says of each probe when this way is forced."""
    return json.loads(subprocess.run([NETLINE, "list", "--json", "--attach", way], stdout=subprocess.PIPE, check=False).stdout)


def offered(way):
    """The probes that have it."""
    return [offer["name"] for offer in offers(way) if "way" in offer]


def tests_of(probe):
    return [str(path) for folder in ("e2e", "vm") for path in sorted(TOP.glob(f"tests/{folder}/test_{probe}*.py"))]


def run_job(name):
    """Whether all tests passed."""
    way, _, files = name.rpartition(":")
    if files.startswith("tests/"):
        codes = [run_tests("chosen", sorted(map(str, TOP.glob(files))), {"NETLINE_ATTACH": way} if way else {})]
    elif name == "system":
        codes = [run_tests(group, ["-m", "not any_kernel", *tests_of(group)], {}) for group in ("agent", "cli", "refused", "capabilities", "clock", "system")]
    elif name == "systemd":
        codes = [run_tests(name, [str(TOP / "tests/vm/test_under_systemd.py")], {})]
    else:
        codes = run_way(name)
    return not any(codes)


def run_way(name):
    listed = offers(name)
    tell("offers", json.dumps(listed).encode())
    probes = [offer["name"] for offer in listed if "way" in offer]
    earlier = {probe for way in WAYS[:WAYS.index(name)] for probe in offered(way)}
    return [run_tests(probe, [*(["-m", "not any_way"] if probe in earlier else []), *tests_of(probe)], {"NETLINE_ATTACH": name}) for probe in probes]


def mark_log():
    with open("/dev/kmsg", "w", encoding="ascii") as log:
        log.write(f"<4>{MARK}\n")


def kernel_warnings():
    """What the kernel has said at level warning or above since mark_log()."""
    log = subprocess.run(["dmesg", "--level=emerg,alert,crit,err,warn", "--notime"], capture_output=True, check=False).stdout
    _, mark, after = log.partition(f"{MARK}\n".encode())
    return after if mark else b"more than its log holds, or dmesg has failed"


def run_tests(name, paths, environment):
    result = f"/tmp/{name}.xml"
    command = ["/usr/bin/python3", "-m", "pytest", "-vv", "-rs", "-p", "no:cacheprovider", "--tb=short", f"--junitxml={result}", *paths]
    code = subprocess.run(command, cwd=TOP, env={**os.environ, **environment}, check=False).returncode
    if os.path.exists(result):
        tell(f"{name}.xml", Path(result).read_bytes())
    return code


def main():
    start = time.monotonic()
    if os.getpid() == 1:
        mount_all()
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    LIBC.iopl(3)  # children inherit it; later a test locks the kernel down
    passed = False
    try:
        mark_log()
        print(f"guest: {os.uname().release}: {job()}; set up in {time.monotonic() - start:.1f} s", flush=True)
        passed = run_job(job())
        tell("dmesg", kernel_warnings())
        tell("end", b"")
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os.sync()
    subprocess.run([TOP / "build/tests/vm/exit", str(PASSED if passed else FAILED)], check=False)


if __name__ == "__main__":
    main()
