# SPDX-License-Identifier: BSD-2-Clause
"""Debian's packages of other releases, from the mirrors that this machine uses anyway; its package sources stay as they are."""
import re
import subprocess
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = ["bullseye", "bullseye-security", "bookworm", "bookworm-security", "bookworm-backports", "trixie", "trixie-security", "trixie-backports"]


class Unavailable(Exception):
    """What is wanted cannot be had here; says why."""


def mirror():
    """The Debian mirror of this machine."""
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        found = re.search(r"\b\w+://\S+/debian/?(?=\s|$)", path.read_text()) if path.is_file() else None
        if found:
            return found[0].rstrip("/")
    raise Unavailable("this machine's package sources name no Debian mirror")


class Archive:
    """An apt of its own below `folder`: lists and packages are kept there."""

    def __init__(self, folder, architecture="amd64"):
        self.folder = Path(folder).resolve()
        self._options = ["-q", "-o", f"Dir::Etc::sourcelist={self.folder}/sources", "-o", "Dir::Etc::sourceparts=/dev/null",
                         "-o", f"Dir::State={self.folder}/state", "-o", f"Dir::Cache={self.folder}/cache", "-o", "Dir::State::status=/dev/null",
                         "-o", f"APT::Architecture={architecture}", "-o", f"APT::Architectures={architecture}",
                         "-o", "APT::Sandbox::User=root", "-o", "APT::Install-Recommends=false", "-o", "Acquire::Languages=none"]

    def update(self, suites):
        """Reads the suites' lists. One that is gone is left out."""
        for name in ("packages", "state/lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        base = mirror()
        lines = [f"deb [signed-by={KEYRING}] {base}{'-security' if suite.endswith('-security') else ''} {suite} main\n" for suite in suites]
        (self.folder / "sources").write_text("".join(lines))
        done = self._run("apt-get", "update")
        if done.returncode and not any((self.folder / "state/lists").glob("*_Packages*")):
            raise Unavailable(f"no package lists: {done.stderr.strip().splitlines()[-1]}")

    def versions(self, pattern):
        """Package names that match all of the pattern, the newest version first."""
        names = self._run("apt-cache", "pkgnames").stdout.split()
        found = [name for name in names if re.fullmatch(pattern, name)]
        return sorted(found, key=lambda name: [int(number) for number in re.findall(r"\d+", name)], reverse=True)

    def needed(self, package):
        """The package, and what of its dependencies is not installed on this machine."""
        done = self._run("apt-get", "install", "--simulate", "-o", "Dir::State::status=/var/lib/dpkg/status", package)
        if done.returncode:
            raise Unavailable(f"{package}: {(done.stderr.strip().splitlines() or ['cannot be installed'])[-1]}")
        return [package, *sorted(set(re.findall(r"^Inst (\S+)", done.stdout, re.M)) - {package})]

    def download(self, *packages):
        """Their files, downloaded unless they are here."""
        done = self._run("apt-get", "download", "--print-uris", *packages, folder="state")  # apt prints none for what is in the folder
        if done.returncode or not done.stdout.strip():
            raise Unavailable(f"{' '.join(packages)}: {(done.stderr.strip().splitlines() or ['not in the lists'])[-1]}")
        files = [self.folder / "packages" / line.split()[1] for line in done.stdout.splitlines()]
        missing = [file.name.partition("_")[0] for file in files if not file.exists()]  # they come in an order of apt's
        if missing:
            print(f"downloading {' '.join(missing)}", flush=True)
            done = self._run("apt-get", "download", *missing, folder="packages")
        if done.returncode or not all(file.exists() for file in files):
            raise Unavailable(f"{' '.join(missing)}: {done.stderr.strip().splitlines()[-1]}")
        return files

    def unpack(self, target, *packages):
        """Unpacks the packages below target, unless that has been done."""
        target = Path(target)
        mark = target / ".complete"
        if not mark.exists() or mark.read_text() != " ".join(packages):
            subprocess.run(["rm", "-rf", target], check=True)
            target.mkdir(parents=True)
            for file in self.download(*packages):
                done = subprocess.run(["dpkg", "-x", file, target], capture_output=True, text=True, check=False)
                if done.returncode:  # a download that was interrupted
                    file.unlink()
                    raise Unavailable(f"{file.name} was damaged and is removed, try again: {done.stderr.strip()}")
            mark.write_text(" ".join(packages))
        return target

    def _run(self, *command, folder="."):
        return subprocess.run([command[0], *self._options, *command[1:]], cwd=self.folder / folder, capture_output=True, text=True, check=False)
