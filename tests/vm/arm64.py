# SPDX-License-Identifier: BSD-2-Clause
"""The smoke test on arm64: netline built by Debian's cross compiler, run on Debian's kernel in a virtual machine, by each way that it offers."""
import json
import os
import re
import shutil
import subprocess
import sys

import image
from debian import Archive, Unavailable
from image import TOP

CROSS = "aarch64-linux-gnu-gcc"
LIBRARIES = ["libbpf-dev", "libuv1-dev", "libjansson-dev", "libelf-dev", "libmd-dev", "zlib1g-dev", "libzstd-dev", "libc6-dev", "libc6", "linux-libc-dev", "busybox-static"]
KERNEL = r"linux-image-(6\.1\.0-\d+-cloud-arm64)-unsigned"
LIMIT = 600
QEMU = ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-accel", "tcg", "-m", "512", "-smp", "1", "-nodefaults", "-display", "none",
        "-no-reboot", "-append", "console=ttyAMA0 quiet loglevel=3 rdinit=/init panic=-1"]


def fetch(work):
    """(folder of libraries and headers, kernel image)."""
    archive = Archive(work / "apt-arm64", "arm64")
    archive.update(["bookworm", "bookworm-security"])
    sysroot = archive.unpack(work / "arm64/sysroot", *LIBRARIES)
    packages = archive.versions(KERNEL)
    if not packages:
        raise Unavailable(f"no package {KERNEL} in Debian's lists")
    release = re.fullmatch(KERNEL, packages[0])[1]
    return sysroot, archive.unpack(work / "arm64" / release, packages[0]) / f"boot/vmlinuz-{release}"


def build(sysroot):
    command = ["make", "--no-print-directory", "WERROR=1", "STATIC=1", f"CC={CROSS}", f"SYSROOT={sysroot}", "BUILD=build/arm64", "build/arm64/netline"]
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the cross build fails:\n{done.stdout}{done.stderr}"
    return TOP / "build/arm64/netline"


def initrd(sysroot, binary, folder):
    root = folder / "root"
    for name in ("bin", "proc", "sys", "dev", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy2(sysroot / "bin/busybox", root / "bin/busybox")
    shutil.copy2(binary, root / "netline")
    shutil.copy2(TOP / "tests/vm/arm64-init", root / "init")
    os.mknod(root / "dev/console", 0o20600, os.makedev(5, 1))
    image.archive(root, folder / "initrd")
    shutil.rmtree(root)
    return folder / "initrd"


def sections(path):
    found, name = {}, None
    for line in path.read_bytes().decode(errors="replace").replace("\r", "").splitlines(keepends=True):
        if line.startswith("=== "):
            name = line[4:].strip()
            found[name] = ""
        elif name:
            found[name] += line
    return found


def by_nc(record):
    return record.get("process", {}).get("name") == "nc"


# What the records of a probe must show, where one connection carried 6 bytes and another was refused: {probe: its parts}.
SHOWN = {
    "tcp_connection": lambda records: {(r["event"]["action"], r["event"]["outcome"]) for r in records if by_nc(r)}
        == {("tcp-connect", "success"), ("tcp-accept", "success"), ("tcp-connect", "failure")},
    "tcp_bytes": lambda records: {(r["netline"]["role"], r["netline"]["bytes"]["sent"], r["netline"]["bytes"]["received"]) for r in records if by_nc(r)}
        >= {("client", 6, 0), ("server", 0, 6)},
    "tcp_inerrs": lambda records: {(r["event"]["reason"], r["destination"]["port"]) for r in records} == {("no_socket", 8081)},
    "delay_analysis_in": lambda records: any(by_nc(r) and r["netline"]["delay"]["end"] == "read" and "duration" in r["event"] for r in records),
    "delay_analysis_out": lambda records: any(by_nc(r) and r["destination"]["port"] == 8080 and "duration" in r["event"] for r in records),
    "nic_throughput": lambda records: {r["network"]["interface"]["name"] for r in records} == {"lo"},
}


def judge(told):
    """What is wrong with what the guest has told."""
    sys.path.insert(0, str(TOP / "tests/e2e"))
    from harness import parse_lines
    for way in ("fentry", "kprobe", "tracepoint"):
        for offer in json.loads(told[f"list {way}"]):
            if "way" in offer:
                run = f"{way} {offer['name']}"
                records = parse_lines(told[f"records {run}"].encode())
                of_probe = [r for r in records if r["event"]["dataset"] == f"netline.{offer['name']}"]
                assert SHOWN[offer["name"]](of_probe), (run, records, told.get(f"messages {run}"))
    probes = {name.split()[2] for name in told if name.startswith("records ")}
    assert probes == set(SHOWN), probes


def smoke(work, folder):
    """(the kernel, ways and probes that ran); AssertionError or Unavailable say what is wrong."""
    sysroot, kernel = fetch(work)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [*QEMU, "-kernel", kernel, "-initrd", initrd(sysroot, build(sysroot), folder), "-serial", f"file:{folder}/console.log"]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"not finished after {LIMIT} s; its console: {folder / 'console.log'}") from None
    told = sections(folder / "console.log")
    assert "end" in told, f"the machine ended early; its console: {folder / 'console.log'}"
    judge(told)
    return kernel.name.removeprefix("vmlinuz-"), [name.removeprefix("records ") for name in told if name.startswith("records ")]
