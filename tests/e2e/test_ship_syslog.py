# SPDX-License-Identifier: BSD-2-Clause
"""contrib/rsyslog and contrib/syslog-ng ship to (a stand-in for) Elasticsearch: each record once, unchanged, in its data stream, also where the server fails."""
import json
import socket
import time

import pytest

from cgroups import Cgroup, Place
from elastic import Elastic, assert_shipped, templates_of_files
from harness import ROOT, Namespace, of_dataset, wait_until
from outputs import Files, output_agent
from puppet import Traffic
from shippers import ShippingRsyslog, ShippingSyslogNg
from syslog_readers import Unavailable, unpack

pytestmark = pytest.mark.any_kernel

ODD = 'odd=<13>%m{}$MSG ${MSG}\\n "\t\u00e9\u20ac\U0001f40c\x7f\'#011'  # what syslog, templates and terminals give a meaning to
CONNECTIONS = 300


def with_package(kind):
    try:
        unpack(kind.PACKAGE)
    except Unavailable as error:
        pytest.skip(str(error))
    return kind


@pytest.fixture(scope="module", params=[ShippingRsyslog, ShippingSyslogNg], ids=["rsyslog", "syslog-ng"])
def kind(request):
    return with_package(request.param)


def examples():
    """One of each record, with what may be lost on the way: the largest number, one that is no double, a number's last digit, odd text."""
    records = {path.stem: json.loads(path.read_text()) for path in (ROOT / "schema/examples").glob("*.json")}
    records["tcp_bytes"]["network"]["bytes"] = 2**63 - 1
    records["tcp_bytes"]["source"]["bytes"] = 2**53 + 1
    records["nic_throughput"]["netline"]["nic"]["bytes_per_sec"] = 123456789012.345
    for record in records.values():
        record["labels"] = {"odd": ODD}
    # The one with a message, which shippers take for theirs: several, that some of them are refused
    lost = [{**records["agent_lost"], "event": {**records["agent_lost"]["event"], "sequence": number}} for number in (100, 101, 102)]
    return [*records.values(), *lost]


def connected(path, daemon):
    wait_until(path.exists, 10, lambda: f"the socket; {daemon.told()}")
    client = socket.socket(socket.AF_UNIX)
    wait_until(lambda: not client.connect_ex(str(path)), 10, "the listener")
    return client


def lines(records):
    return "".join(json.dumps(record, ensure_ascii=False, separators=(",", ":")).replace("\x7f", "\\u007f") + "\n" for record in records).encode()


def send(path, daemon, records):
    with connected(path, daemon) as client:
        client.sendall(lines(records))


def configured(ns, tmp_path, output):
    """netline with many kinds of records, and the machine's other traffic, too: what came to stdout is what there was."""
    path = tmp_path / "netline.json"
    path.write_text(json.dumps({"interval": 0.2, "probes": {"nic_throughput": {}, "tcp_connection": {}, "tcp_bytes": {}, "delay_analysis_in": {"summary": True}}}))
    return output_agent("--config", path, "-o", output, "--label", ODD, ns=ns)


def test_examples(kind, tmp_path):
    """Every type of record; with rsyslog also where the server refuses some, and they are made anew from the request."""
    path, records = tmp_path / "s", examples()
    with Namespace() as ns, Elastic(ns) as elastic:
        daemon = kind(ns, tmp_path, kind.SOCKET, path, elastic.url)
        daemon.start()
        if kind.SEES_ITEMS:
            elastic.fault = "busy"
        send(path, daemon, records)
        if kind.SEES_ITEMS:
            wait_until(lambda: elastic.met["busy"] > 1, 10, lambda: f"a repeat; {daemon.told()}")
            elastic.fault = None
        elastic.wait_for(len(records), 10, daemon.told)
        daemon.stop()
        assert_shipped(elastic, records)


def test_socket(kind, tmp_path):
    path = tmp_path / "s"
    with Namespace() as ns, Elastic(ns) as elastic:
        daemon = kind(ns, tmp_path, kind.SOCKET, path, elastic.url)
        daemon.start()
        with configured(ns, tmp_path, f"unix-connect:{path}") as agent:
            Traffic(ns, CONNECTIONS).run()
            agent.wait_for(lambda records: of_dataset(records, "delay_analysis_summary"))
            everything = agent.stop()
        elastic.wait_for(len(everything), 10, daemon.told)
        daemon.stop()
        assert_shipped(elastic, everything)


def test_file(kind, tmp_path):
    """Over rotations, while the daemon is away, and where one was killed that remembers."""
    (tmp_path / "log").mkdir()
    files = Files(tmp_path / "log")
    with Namespace() as ns, Elastic(ns) as elastic:
        daemon = kind(ns, tmp_path, kind.FILE, files.path, elastic.url)
        with configured(ns, tmp_path, f"file:{files.path},rotate-size=64K") as agent:
            for end in [daemon.stop] + [daemon.kill] * kind.REMEMBERS:
                daemon.start()
                n = len(elastic.documents)
                Traffic(ns, CONNECTIONS).run()
                wait_until(lambda: len(elastic.documents) > n, 10, lambda: f"the first files; {daemon.told()}")
                end()
                n = len(files.rotated())
                Traffic(ns, CONNECTIONS).run()
                wait_until(lambda: len(files.rotated()) > n, 10, "a rotation")
            daemon.start()
            everything = agent.stop()
        files.path.rename(files.path.with_stem("netline-last"))
        elastic.wait_for(len(everything), 20, daemon.told)
        daemon.stop()
        assert_shipped(elastic, everything)


def test_outage(kind, tmp_path):
    """The server refuses, is cut off, or stores and does not say so."""
    path = tmp_path / "s"
    faults = ["cut", "unanswered"] + ["busy"] * kind.SEES_ITEMS + [503, 410] * kind.SEES_STATUS  # 410: what syslog-ng would drop
    with Cgroup() as cgroup, Place(cgroup) as place, Namespace() as ns, Elastic(ns) as elastic:
        daemon = kind(ns, tmp_path, kind.SOCKET, path, elastic.url)
        daemon.start()
        with output_agent("-o", f"unix-connect:{path},queue=64M", "--cgroup", cgroup.path, "tcp_connection") as agent:
            for fault in faults:
                elastic.fault = fault
                Traffic(place, CONNECTIONS).run()
                wait_until(lambda: elastic.met[fault], 10, lambda: f"an attempt; {daemon.told()[-2000:]}")
                if fault == "cut":
                    time.sleep(2)  # no moment: longer than the attempts that are made at once
            elastic.fault = None
            everything = agent.stop()
        elastic.wait_for(len(everything), 20, lambda: daemon.told()[-2000:])
        daemon.stop()
        assert_shipped(elastic, everything)
    assert elastic.conflicts


def test_stopped_in_outage(kind, tmp_path):
    """What syslog-ng has read stays on disk. rsyslog forgets what it was trying, but reads files again that it knows nothing about."""
    source, path, records = kind.SOCKET if kind.REMEMBERS else kind.FILE, tmp_path / "netline-1.jsonl", examples()
    with Namespace() as ns, Elastic(ns) as elastic:
        daemon = kind(ns, tmp_path, source, path, elastic.url)
        elastic.fault = "cut"
        daemon.start()
        if source == kind.SOCKET:
            send(path, daemon, records)
        else:
            path.write_bytes(lines(records))
        wait_until(lambda: elastic.met["cut"], 10, lambda: f"an attempt; {daemon.told()}")
        daemon.stop()
        for state in daemon.state_of_files():
            state.unlink()
        elastic.fault = None
        daemon.start()
        elastic.wait_for(len(records), 10, daemon.told)
        daemon.stop()
        assert_shipped(elastic, records)


@pytest.mark.parametrize("fault", [503, 502, None], ids=["refused", "failed", "rejected"])
def test_put_aside(tmp_path, fault):
    """What the server refuses whole, or for want of templates, rsyslog puts aside. contrib/rsyslog/resend brings it in; twice does no harm."""
    kind, path, records = with_package(ShippingRsyslog), tmp_path / "s", examples()
    with Namespace() as ns, Elastic(ns, loaded=fault is not None) as elastic:
        daemon = kind(ns, tmp_path, kind.SOCKET, path, elastic.url)
        elastic.fault = fault
        daemon.start()
        send(path, daemon, records)
        wait_until(lambda: daemon.put_aside().count("ephemeral_id") == len(records), 10, lambda: f"all to be put aside; {daemon.told()}")
        daemon.stop()
        aside = tmp_path / "aside"
        aside.write_text(daemon.put_aside())
        again = [ROOT / "contrib/rsyslog/resend", elastic.url, aside]
        refused = ns.run(again, check=False)
        assert refused.returncode == 1 and refused.stderr.startswith("resend: line 1 is not taken: ") and not elastic.documents
        elastic.fault, elastic.templates, elastic.findings = None, templates_of_files(), []
        for _ in range(2):
            ns.run(again)
            assert_shipped(elastic, records)
