# SPDX-License-Identifier: BSD-2-Clause
"""rsyslog and syslog-ng with the recipes of contrib/ that ship to Elasticsearch, as they are but for paths and the server's address."""
from harness import ROOT
from syslog_readers import Rsyslog, SyslogNg


def recipe(files, changes):
    """The text of files of contrib/ with the places that a user changes, too, changed: each has to be there."""
    text = "\n".join((ROOT / "contrib" / file).read_text() for file in files)
    for old, new in changes.items():
        assert old in text, f"{files} have no {old}"
        text = text.replace(old, str(new))
    return text


class _Shipping:
    """`path` is that of the socket, or of netline's file."""

    FILE, SOCKET = "file", "socket"

    def __init__(self, ns, folder, source, path, url):
        super().__init__(ns, folder, source, path)
        self._url = url

    def _configuration(self, _):
        changes = {"http://127.0.0.1:9200": self._url, self.SPOOL: self._folder}
        changes |= {self.SOCKET_PATH: self._path} if self._source == self.SOCKET else {"/var/log/netline": self._path.parent}
        return self._global() + recipe([f"{self.RECIPES}/netline-{self._source}.conf", f"{self.RECIPES}/netline-elasticsearch.conf"], changes)


class ShippingRsyslog(_Shipping, Rsyslog):
    RECIPES, SPOOL, SOCKET_PATH = "rsyslog", "/var/spool/rsyslog", "/run/netline-rsyslog.sock"
    SEES_ITEMS, SEES_STATUS = True, False  # what of an answer it looks at
    REMEMBERS = False  # whether what it has read and not delivered stays when it is killed, or stopped in an outage

    def _global(self):
        return f'global(workDirectory="{self._folder}/state" net.enableDNS="off")\n'

    def state_of_files(self):
        return (self._folder / "state").glob("imfile-state:*")

    def put_aside(self):
        return "".join(path.read_text() for path in self._folder.glob("netline-*.json"))


class ShippingSyslogNg(_Shipping, SyslogNg):
    RECIPES, SPOOL, SOCKET_PATH = "syslog-ng", "/var/lib/syslog-ng", "/run/netline-syslog-ng.sock"
    SEES_ITEMS, SEES_STATUS, REMEMBERS = False, True, True

    def _global(self):
        return f"@version: {self._modules.name}\noptions {{ stats-freq(0); }};\n"

    def state_of_files(self):
        return []
