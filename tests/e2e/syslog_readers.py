# SPDX-License-Identifier: BSD-2-Clause
"""rsyslog and syslog-ng as readers of netline: each writes the lines that it gets to a file of its own, as they came.

Their packages conflict, so neither is installed: they are unpacked below build/debian, with those libraries that the machine has not. The packages
are those of the modules that ship (shippers.py), which bring the daemons with them.
"""
import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

from harness import ROOT, START_LIMIT, STOP_LIMIT, wait_until

sys.path.insert(0, str(ROOT / "tests"))

from debian import Archive, Unavailable  # noqa: E402

FOLDER = ROOT / "build/debian"


def unpack(package):
    """The folder below which the package is, from this machine's release of Debian."""
    release = platform.freedesktop_os_release()
    if release["ID"] != "debian":
        raise Unavailable(f"the packages are Debian's, and this is {release['ID']}")
    suite = release["VERSION_CODENAME"]
    target = FOLDER / suite / package
    if not (target / ".complete").exists():
        architecture = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
        archive = Archive(FOLDER / suite / "apt", architecture)
        archive.update([suite, f"{suite}-security"])
        archive.unpack(target, *archive.needed(package))
    return target


class Daemon:
    """One that reads from `source` (FILE, ROTATED or SOCKET of its class), in the foreground, in a namespace without network. Each run has an output file."""

    def __init__(self, ns, folder, source, path):
        self._ns, self._folder, self._source, self._path, self._process = ns, folder / self.PACKAGE, source, path, None
        (self._folder / "state").mkdir(parents=True)
        self._root = unpack(self.PACKAGE)
        self._modules = next(self._root.rglob(self.MODULE)).parent
        self._libraries = ":".join(sorted({str(path.parent) for path in self._root.rglob("lib*.so.*")}))
        self.outputs = []

    def start(self):
        self.outputs.append(self._folder / f"out.{len(self.outputs)}")
        configuration = self._folder / "conf"
        configuration.write_text(self._configuration(self.outputs[-1]))
        with open(self._folder / "stderr", "ab") as stderr:
            self._process = self._ns.popen([self._root / self.PROGRAM, *self._arguments(configuration)], stdin=subprocess.DEVNULL, stdout=stderr,
                                           stderr=stderr, env={**os.environ, "LD_LIBRARY_PATH": self._libraries})

    def data(self):
        """What the run has written so far."""
        path = self.outputs[-1]
        return path.read_bytes() if path.exists() else b""

    def everything(self):
        """What all runs have written; of one that was killed without the line that it was at."""
        return b"".join(path.read_bytes() for path in self.outputs if path.exists())

    def tails(self):
        """The ends of what the last two runs have written."""
        return [path.read_bytes()[-1_000_000:] for path in self.outputs[-2:] if path.exists()]

    def told(self):
        return (self._folder / "stderr").read_text()

    def pause(self):
        self._process.send_signal(signal.SIGSTOP)

    def _has_handler(self):
        """Whether SIGTERM would be an order to it, and not its end."""
        assert self._process.poll() is None, self.told()
        caught, = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{self._process.pid}/status").read_text(), re.M)
        return int(caught, 16) & 1 << signal.SIGTERM - 1

    def stop(self):
        """As the system's services are stopped."""
        wait_until(self._has_handler, START_LIMIT, lambda: f"{self.PROGRAM} to start; {self.told()}")
        self._process.terminate()
        assert self._process.wait(STOP_LIMIT) == 0, self.told()

    def kill(self):
        self._process.kill()
        self._process.wait()
        data = self.data()
        self.outputs[-1].write_bytes(data[:data.rfind(b"\n") + 1])


class Rsyslog(Daemon):
    """maxMessageSize is 8 KiB by default, and what is longer is cut.

    The ruleset's queue is direct: with the main queue what waits there in memory, up to 50,000 lines, would go with a daemon that is killed.
    For sockets imptcp: imuxsock, which has /dev/log, takes datagrams only, and netline writes a stream. It leaves its socket behind, and
    does not start again there without unlink="on".
    """

    PACKAGE, PROGRAM, MODULE = "rsyslog-elasticsearch", "usr/sbin/rsyslogd", "imfile.so"
    FILE = 'type="imfile" tag="netline" file="{path}"'
    ROTATED = FILE
    SOCKET = 'type="imptcp" unlink="on" supportOctetCountedFraming="off" path="{path}"'

    def _configuration(self, out):
        return f"""
            global(workDirectory="{self._folder}/state" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off" net.enableDNS="off")
            module(load="imfile")
            module(load="imptcp")
            template(name="raw" type="string" string="%rawmsg%\\n")
            ruleset(name="raw" queue.type="direct") {{ action(type="omfile" file="{out}" template="raw") }}
            input({self._source.format(path=self._path)} ruleset="raw")
        """

    def _arguments(self, configuration):
        return ["-n", "-f", configuration, "-i", self._folder / "pid", "-M", self._modules]


class SyslogNg(Daemon):
    """Without no-parse a line becomes a syslog message with a header made up; without flow-control what it cannot write is dropped.

    Where a file is rotated twice between two looks at it (follow-freq), the one in between is not read. Of files of a pattern it reads
    max-files at most, 100 lines of each at a time: if log-fifo-size has no room for these, some are dropped in spite of flow-control.
    """

    PACKAGE, PROGRAM, MODULE = "syslog-ng-mod-http", "usr/sbin/syslog-ng", "libaffile.so"
    FILE = 'file("{path}" follow-freq(0.05) flags(no-parse))'
    ROTATED = 'wildcard-file(base-dir("{path.parent}") filename-pattern("{path.name}") max-files(200) log-iw-size(20000) follow-freq(0.05) flags(no-parse))'
    SOCKET = 'unix-stream("{path}" flags(no-parse))'

    def _configuration(self, out):
        return f"""
            @version: {self._modules.name}
            options {{ log-msg-size(65536); stats-freq(0); }};
            source netline {{ {self._source.format(path=self._path)}; }};
            destination out {{ file("{out}" log-fifo-size(20000) template("$MSG\\n")); }};
            log {{ source(netline); destination(out); flags(flow-control); }};
        """.replace(" " * 12, "")

    def _arguments(self, configuration):
        return ["-F", "--no-caps", "-f", configuration, "-R", self._folder / "state/persist", "-p", self._folder / "pid", "-c", self._folder / "ctl",
                "--module-path", self._modules]
