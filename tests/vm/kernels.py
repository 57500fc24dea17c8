# SPDX-License-Identifier: BSD-2-Clause
"""The kernels that the matrix boots: Debian's cloud kernels, downloaded and unpacked, never installed."""
import re
from collections import namedtuple
from pathlib import Path

from debian import Unavailable

# Point releases come and go: patterns, the newest that can be had is taken. "#": what the pattern of the first package matched.
WANTED = {
    "5.10": [r"linux-image-(5\.10\.0-\d+-cloud-amd64)"],
    "6.1": [r"linux-image-(6\.1\.0-\d+-cloud-amd64)-unsigned"],
    "6.12": [r"linux-image-(6\.12\.\d+\+deb12-cloud-amd64)-unsigned"],
    "6.18": [r"linux-image-(6\.18\.\d+\+deb\d+-cloud-amd64)"],
    "7": [r"linux-binary-(7\.\d+\.\d+\+deb\d+-cloud-amd64)", "linux-modules-#"],  # since 6.19 linux-image is an empty metapackage
}
TRIES = 3  # versions that are listed and gone

Kernel = namedtuple("Kernel", "name release image folder")


def _one(archive, name, package, folder):
    patterns = WANTED[name]
    release = re.fullmatch(patterns[0], package)[1]
    packages = [package, *(pattern.replace("#", release) for pattern in patterns[1:])]
    root = archive.unpack(Path(folder) / release, *packages)
    image = next((path for path in (root / f"boot/vmlinuz-{release}", root / f"usr/lib/modules/{release}/vmlinuz") if path.exists()), None)
    if not image:
        raise Unavailable(f"{package} holds no kernel")
    return Kernel(name, release, image, root / "usr" if (root / "usr/lib/modules").exists() else root)


def fetch(archive, name, folder):
    """The newest kernel of that name that can be had; Unavailable says why there is none."""
    packages = archive.versions(WANTED[name][0])
    if not packages:
        raise Unavailable(f"no package {WANTED[name][0]} in Debian's lists")
    for package in packages[:TRIES]:
        try:
            return _one(archive, name, package, folder)
        except Unavailable as error:
            last = error
    raise last
