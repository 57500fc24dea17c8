# SPDX-License-Identifier: BSD-2-Clause
"""The stand-in for Elasticsearch notices what it is for; and it takes every example of schema/examples."""
import copy
import gzip
import http.client
import json
import subprocess
import urllib.error
import urllib.request

import pytest

from elastic import Elastic, assert_shipped, id_of, index_of, templates_of_files
from harness import ROOT

pytestmark = pytest.mark.any_kernel

EXAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "schema/examples").glob("*.json"))}
CONNECTION = EXAMPLES["tcp_connection"]


@pytest.fixture
def elastic():
    with Elastic() as server:
        yield server


def call(elastic, path, body=None, method="POST", **headers):
    """(status, JSON)."""
    request = urllib.request.Request(elastic.url + path, body, {"Content-Type": "application/x-ndjson", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def pairs(records, action="create"):
    return "".join(f"{json.dumps({action: {'_index': index_of(record), '_id': id_of(record)}})}\n{json.dumps(record)}\n" for record in records).encode()


def send(elastic, *records, **kw):
    """The status of each item."""
    status, answer = call(elastic, "/_bulk", pairs(records, **kw))
    assert status == 200
    statuses = [item["status"] for each in answer["items"] for item in each.values()]
    assert answer["errors"] == any(status != 201 for status in statuses)
    return statuses


def changed(path, value, record=CONNECTION):
    record = copy.deepcopy(record)
    *parents, last = path.split(".")
    part = record
    for parent in parents:
        part = part[parent]
    part[last] = value
    return record


def test_examples(elastic):
    assert send(elastic, *EXAMPLES.values()) == [201] * len(EXAMPLES)
    assert_shipped(elastic, list(EXAMPLES.values()))
    assert {index.partition("-netline.")[0] for index, _, _ in elastic.documents} == {"logs", "metrics"}


@pytest.mark.parametrize("path, value", [
    ("event.sequence", 2**63), ("event.sequence", -2**63 - 1), ("event.sequence", 18.0), ("event.sequence", "18"), ("event.sequence", True),
    ("event.sequence", None), ("host.name", 5), ("event.category", ["network", 1]), ("source.ip", "10.0.0.256"), ("source", "10.0.0.5"),
    ("@timestamp", "2026-11-22T22:11:00.123Z"), ("@timestamp", "2026-11-31T22:11:00.123456789Z"), ("@timestamp", 1795385460123),
    ("@timestamp", "2262-04-11T23:47:16.854775808Z"), ("@timestamp", "1969-12-31T23:59:59.999999999Z"),
    ("log", {"offset": 1}), ("host.ip", "10.0.0.5"), ("agent", {"type": "netline", "ephemeral_id": "1", "id": "2"}), ("labels.n", 5), ("labels.o", {"a": "b"}),
])
def test_misfit(elastic, path, value):
    assert send(elastic, changed(path, value), CONNECTION) == [400, 201]
    finding, = elastic.findings
    assert path.partition(".")[0] in finding
    assert [document for _, _, document in elastic.documents] == [CONNECTION]


@pytest.mark.parametrize("path, value", [("event.sequence", 2**63 - 1), ("labels.any", "text"), ("source.ip", "fd77::1"),
                                         ("@timestamp", "2262-04-11T23:47:16.854775807Z")])
def test_fits(elastic, path, value):
    record = changed(path, value)
    assert send(elastic, record) == [201]
    assert_shipped(elastic, [record])


@pytest.mark.parametrize("histogram", [5, {"values": [1]}, {"values": [1, 2], "counts": [1]}, {"values": [2, 1], "counts": [1, 1]}, {"values": [1], "counts": [-1]}])
def test_bad_histogram(elastic, histogram):
    assert send(elastic, changed("netline.delay.histogram", histogram, EXAMPLES["delay_analysis_summary"])) == [400]


def test_repeat(elastic):
    assert send(elastic, CONNECTION, CONNECTION) == [201, 409]
    assert send(elastic, CONNECTION) == [409]
    assert elastic.conflicts == 2
    assert_shipped(elastic, [CONNECTION])


def test_without_id(elastic):
    line = json.dumps(CONNECTION)
    head = json.dumps({"create": {}})
    assert call(elastic, f"/{index_of(CONNECTION)}/_bulk", f"{head}\n{line}\n{head}\n{line}\n".encode())[0] == 200
    assert len(elastic.documents) == 2
    with pytest.raises(AssertionError, match="did not arrive"):
        assert_shipped(elastic, [CONNECTION])


def test_wrong_action(elastic):
    assert send(elastic, CONNECTION, action="index") == [400]
    assert "op_type" in elastic.findings[0] and not elastic.documents


def test_no_template():
    with Elastic(loaded=False) as elastic:
        assert send(elastic, CONNECTION) == [404]
        assert len(elastic.findings) == 1


@pytest.mark.parametrize("body, kind", [(pairs([CONNECTION])[:-1], "application/json"), (pairs([CONNECTION]), "text/plain"), (b"\n", "application/json"),
                                        (b'{"create": {}, "index": {}}\n{}\n', "application/json"),
                                        (b'{"create": {"_index": "logs-netline.tcp_connection-default", "_type": "_doc"}}\n{}\n', "application/json")])
def test_bad_request(elastic, body, kind):
    assert call(elastic, "/_bulk", body, **{"Content-Type": kind})[0] in (400, 406)
    assert elastic.findings and not elastic.documents


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b'{"ecs":{},"ecs":{}}', b"\xff", b"{}"])
def test_bad_document(elastic, line):
    _, answer = call(elastic, "/_bulk", pairs([CONNECTION]).partition(b"\n")[0] + b"\n" + line + b"\n")
    assert answer["items"][0]["create"]["status"] == 400 and len(elastic.findings) == 1


def test_encodings(elastic):
    """gzip, and chunks."""
    assert call(elastic, "/_bulk", gzip.compress(pairs([CONNECTION])), **{"Content-Encoding": "gzip"})[0] == 200
    connection = http.client.HTTPConnection("127.0.0.1", elastic.port, timeout=10)
    body = pairs([EXAMPLES["tcp_bytes"]])
    connection.request("POST", "/_bulk", iter([body[:100], body[100:]]), {"Content-Type": "application/x-ndjson"}, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()
    assert_shipped(elastic, [CONNECTION, EXAMPLES["tcp_bytes"]])


def test_faults(elastic):
    for fault in (503, 429):
        elastic.fault = fault
        assert call(elastic, "/_bulk", pairs([CONNECTION]))[0] == fault
    elastic.fault = 502
    with pytest.raises(json.JSONDecodeError):
        send(elastic, CONNECTION)
    elastic.fault = "cut"
    with pytest.raises(http.client.RemoteDisconnected):
        send(elastic, CONNECTION)
    assert not elastic.documents
    elastic.fault = "busy"
    assert send(elastic, EXAMPLES["tcp_bytes"], CONNECTION) == [201, 429]
    elastic.fault = "unanswered"
    with pytest.raises(http.client.RemoteDisconnected):
        send(elastic, CONNECTION)
    elastic.fault = None
    assert send(elastic, CONNECTION) == [409]
    assert elastic.met == {503: 1, 429: 1, 502: 1, "cut": 1, "busy": 1, "unanswered": 1}
    assert_shipped(elastic, [CONNECTION, EXAMPLES["tcp_bytes"]])


@pytest.mark.parametrize("other", [changed("event.reason", "x"), changed("netline.schema", 1.0), EXAMPLES["tcp_bytes"]])
def test_comparison(elastic, other):
    """What was changed, lost or made up on the way is noticed."""
    send(elastic, CONNECTION)
    for records in ([other], [CONNECTION, EXAMPLES["tcp_bytes"]], []):
        with pytest.raises(AssertionError):
            assert_shipped(elastic, records)


def test_put():
    with Elastic(loaded=False) as elastic:
        files = templates_of_files()
        name, index = "netline-tcp_connection", json.dumps(files["_index_template"]["netline-tcp_connection"]).encode()
        assert call(elastic, f"/_index_template/{name}", index, "PUT")[0] == 400  # its component is not there
        assert call(elastic, f"/_component_template/{name}", json.dumps(files["_component_template"][name]).encode(), "PUT")[0] == 200
        assert call(elastic, f"/_index_template/{name}", index, "PUT")[0] == 200
        assert send(elastic, CONNECTION) == [201]
        assert_shipped(elastic, [CONNECTION])


def test_load():
    """contrib/elasticsearch/load"""
    def load(url):
        return subprocess.run([ROOT / "contrib/elasticsearch/load", url], capture_output=True, text=True, timeout=30, check=False)

    with Elastic(loaded=False) as elastic:
        refused = load(elastic.url + "/elsewhere")
        assert refused.returncode == 1 and "component template netline-agent_lost is refused: " in refused.stderr and not elastic.templates["_component_template"]
        assert load(elastic.url + "/").returncode == 0
        assert elastic.templates == templates_of_files()
    absent = load(elastic.url)
    assert absent.returncode == 1 and "connect" in absent.stderr
