# SPDX-License-Identifier: BSD-2-Clause
"""What a guest boots from: cpio archives, which the kernel unpacks one over the other into its root.

programs(): Python, pytest and the network tools as they are installed on this machine, with all that their packages need, netline
(static) and its tests. modules(): the modules of one kernel that those tests may ask for. service(): systemd, and netline as a package would
install it. Nothing is installed or changed on this machine.
"""
import re
import shutil
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PACKAGES = ["python3", "python3-pytest", "python3-fastjsonschema", "iproute2", "nftables", "ethtool", "tcpdump", "bpftool", "kmod", "procps",
            "util-linux", "mount", "coreutils", "dash"]
LEFT_OUT = re.compile(r"/usr/share/(?!nftables|python3/|iproute2)|/usr/(include|lib/systemd|lib/[^/]*/(gconv|perl|security))/|/(var|lib/systemd)/"
                      r"|/(test|tests|idlelib|lib2to3|ensurepip|turtledemo|pydoc_data)/|/(numpy|pygments)/|\.a$")
# Of systemd what boots to a unit of ours: the manager, its journal and its tools
SYSTEMD_LEFT_OUT = re.compile(r"/usr/(share|include)/|/(init\.d|pam\.d|xdg|kernel|udev|modprobe\.d|binfmt\.d|sysctl\.d|tmpfiles\.d|perl|gconv|cryptsetup|security)/"
                              r"|/systemd/(system-generators|catalog|user|network|boot|system/.*\.wants)|/bin/(networkctl|.*firstboot)|\.a$"
                              r"|/systemd-(logind|networkd|homed|repart|cryptenroll|measure|pcrphase|veritysetup|integritysetup|socket-proxyd)$")
WANTED_UNITS = {"sysinit.target": ["systemd-journald.service"], "sockets.target": ["systemd-journald.socket", "systemd-journald-dev-log.socket"]}
PROJECT = ["schema", "tests/e2e", "tests/vm", "build/static/netline", "build/tests/e2e", "build/tests/vm"]
# Loaded by the kernel when a test asks for a link type, a qdisc or a table; whole folders, since names move between them.
MODULES = re.compile(r"kernel/(net/(?!wireless|bluetooth|ceph|9p|sunrpc|rxrpc|smc|tipc|openvswitch|dccp|sctp|vmw_vsock|mac80211)"
                     r"|drivers/net/(veth|dummy|tun|tap|ifb|bonding|macvlan|macvtap|ipvlan|vxlan|geneve|vrf|netdevsim)"
                     r"|drivers/net/(bonding|vxlan|ipvlan|netdevsim)/)")


def _run(command, **kw):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **kw)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr}"
    return done.stdout


def _installed():
    """{package: names that it depends on}, with what is provided under other names."""
    shown = _run(["dpkg-query", "-W", "-f", "${Package}\t${db:Status-Status}\t${Pre-Depends}, ${Depends}\t${Provides}\n"])
    depends, provider = {}, {}
    for line in shown.splitlines():
        name, status, wants, provides = line.split("\t")
        if status == "installed":
            depends[name] = re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", wants)
            provider.update((other, name) for other in re.findall(r"(?:^|,)\s*([a-z0-9][a-z0-9+.-]+)", provides))
    return depends, provider


def closure(names):
    """The packages and all that they depend on, as installed."""
    depends, provider = _installed()
    found, todo = set(), list(names)
    while todo:
        name = todo.pop()
        name = name if name in depends else provider.get(name)
        if name and name not in found:
            found.add(name)
            todo += depends[name]
    missing = [name for name in names if name not in found]
    assert not missing, f"packages are not installed: {' '.join(missing)}: make deps check-kernels installs them"
    return sorted(found)


def _copy(source, root):
    """One file or link to the same place below root, whose folders are this machine's real ones (/bin is a link to /usr/bin)."""
    target = root / str(source.parent.resolve())[1:] / source.name
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
    elif source.exists() or source.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)


def _compiled(source):
    """The byte code of a Python module: to compile them all takes the guest minutes."""
    return (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc") if source.suffix == ".py" else []


def _copy_packages(root, packages, left_out):
    for path in sorted(set(_run(["dpkg", "-L", *packages]).splitlines())):
        if path.startswith("/") and not left_out.search(path) and not left_out.search(path + "/"):
            source = Path(path)
            for file in (source, *_compiled(source)):
                _copy(file, root)
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        if Path("/", name).is_symlink():
            (root / name).unlink(missing_ok=True)
            (root / name).symlink_to(Path("/", name).readlink())


def _copy_project(root):
    for name in PROJECT:
        source, target = TOP / name, root / "netline" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.d"))
        else:
            shutil.copy2(source, target)


def archive(root, target):
    """All of root as cpio, its owner root. The target is complete or not there: it may be kept for later runs."""
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    part = target.with_name(target.name + ".part")
    with open(part, "wb") as out:
        done = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=root, input=names.encode(), stdout=out, check=False)
    assert done.returncode == 0, f"cpio: {done.returncode}"
    part.rename(target)


def programs(work):
    """The archive that all kernels share; made anew each time: it holds netline and the tests as they are now."""
    root, target = work / "root", work / "programs.cpio"
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("dev", "proc", "sys", "run", "tmp", "etc", "root"):
        (root / folder).mkdir(parents=True)
    _copy_packages(root, closure(PACKAGES), LEFT_OUT)
    _copy_project(root)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (root / "init").symlink_to("netline/tests/vm/guest.py")
    archive(root, target)
    return target


def _install(root):
    """netline as a package would install it, and a unit that runs the tests."""
    units, systemd = root / "usr/lib/systemd/system", TOP / "contrib/systemd"
    for folder in ("etc/netline", "usr/lib/sysusers.d", "usr/bin", "usr/share/netline", "var/log", "var/lib", "var/tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "usr/bin/netline").symlink_to("../../netline/build/static/netline")
    for name, to in (("netline.service", units), ("netns-all.conf", root / "usr/share/netline")):
        (to / name).write_text((systemd / name).read_text().replace("/usr/local/bin/", "/usr/bin/"))
    shutil.copy(systemd / "netline.sysusers", root / "usr/lib/sysusers.d/netline.conf")
    shutil.copy(systemd / "netline.json", root / "etc/netline")
    shutil.copy(TOP / "tests/vm/netline-tests.service", units)
    (root / "etc/machine-id").write_text("6e65746c696e6520697320746573746e\n")  # without one it would be a first boot


def service(work):
    """The archive that makes systemd the first process; over that of the programs."""
    root, target = work / "root-systemd", work / "systemd.cpio"
    shutil.rmtree(root, ignore_errors=True)
    _copy_packages(root, set(closure(["systemd"])) - set(closure(PACKAGES)), SYSTEMD_LEFT_OUT)
    units = root / "usr/lib/systemd/system"
    for unit, wanted in WANTED_UNITS.items():
        (units / f"{unit}.wants").mkdir()
        for name in wanted:
            (units / f"{unit}.wants" / name).symlink_to(f"../{name}")
    _install(root)
    archive(root, target)
    return target


def modules(release, unpacked, work):
    """The archive of a kernel's modules; `unpacked` holds lib/modules/RELEASE."""
    root, target = work / f"modules-{release}", work / f"modules-{release}.cpio"
    if target.exists():
        return target
    shutil.rmtree(root, ignore_errors=True)
    base = Path("lib/modules") / release
    _run(["depmod", "-b", unpacked, release])
    needs = {}
    for line in (unpacked / base / "modules.dep").read_text().splitlines():
        name, _, others = line.partition(":")
        needs[name] = others.split()
    wanted = {name for name in needs if MODULES.search(name)}
    wanted |= {other for name in wanted for other in needs[name]}
    for name in [*wanted, "modules.builtin", "modules.order", "modules.builtin.modinfo"]:
        if (unpacked / base / name).exists():
            to = root / "usr" / base / name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(unpacked / base / name, to)
    _run(["depmod", "-b", root / "usr", release])
    archive(root, target)
    return target
