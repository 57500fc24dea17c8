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
LIBRARIES = ["libbpf-dev", "libuv1-dev", "libjansson-dev", "libelf-dev", "zlib1g-dev", "libzstd-dev", "libc6-dev", "libc6", "linux-libc-dev", "busybox-static"]
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


def judge(told):
    """What is wrong with what the guest has told."""
    sys.path.insert(0, str(TOP / "tests/e2e"))
    from harness import parse_lines
    for way in ("fentry", "kprobe", "tracepoint"):
        offered = any("way" in probe for probe in json.loads(told[f"list {way}"]))
        assert offered or way != "tracepoint", told[f"list {way}"]
        if offered:
            records = parse_lines(told[f"records {way}"].encode())
            seen = {record["event"]["action"]: record["process"]["name"] for record in records}
            assert seen == {"tcp-connect": "nc", "tcp-accept": "nc"}, (way, records, told[f"messages {way}"])
    nics = parse_lines(told["records nic_throughput"].encode())
    assert {(record["network"]["interface"]["name"], record["event"]["dataset"]) for record in nics} == {("lo", "netline.nic_throughput")}
    assert "end" in told


def smoke(work, folder):
    """The ways that ran; AssertionError or Unavailable say what is wrong."""
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
    return kernel.name.removeprefix("vmlinuz-"), [name.split()[1] for name in told if name.startswith("messages ")]
