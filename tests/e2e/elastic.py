# SPDX-License-Identifier: BSD-2-Clause
"""A stand-in for Elasticsearch, as shippers meet it: the bulk API, data streams, and the templates of schema/elasticsearch, more strict than the product.

    with Elastic(ns) as elastic:            # on 127.0.0.1 of the namespace; without ns on this machine's
        ... a shipper sends to elastic.url  # http://127.0.0.1:PORT; also elastic.port
        elastic.fault = 503                 # until it is None again each _bulk request meets that
        wait_until(lambda: elastic.met[503] > 2, 10, "repeats")
        elastic.fault = None
        elastic.wait_for(len(records))      # so many documents; the limit of time and a function that tells more may follow
        assert_shipped(elastic, records)    # each record once, whole, in its data stream, with its _id; no findings

elastic.fault       503, 429 or another status: nothing is stored, and that is the answer; 502: the same, with a proxy's page instead of JSON;
                    "busy": of the items every second one is refused with 429, in an answer of status 200; "cut": the connection is closed without an
                    answer, whatever the request; "unanswered": all is stored, and the connection is closed without an answer
elastic.documents   what is stored: a list of (index, id, document as parsed)
elastic.findings    texts: what the product would refuse, and what it would take but change, or not index: a value whose type is only near to that of
                    the mapping, a field that the mapping does not have, a key twice. Such a document is not stored, and its item has status 400 or 404
elastic.conflicts   how many were refused with 409, since the data stream has their _id: no finding, for a repeat is what an _id is for
elastic.met         a Counter of the faults that requests have met
elastic.templates   {"_component_template": {name: body}, "_index_template": {name: body}}, what PUT has made; those of schema/elasticsearch to begin
                    with, or none with Elastic(loaded=False)
"""
import collections
import datetime
import fnmatch
import gzip
import http.server
import ipaddress
import json
import re
import socket
import threading
import time

from harness import ROOT, dataset_of, parse_line, wait_until
from segments import in_namespace_of

TEMPLATES = ROOT / "schema/elasticsearch"
META = {"_index", "_id", "routing", "pipeline", "require_alias", "require_data_stream", "dynamic_templates"}
LONG = range(-2**63, 2**63)
LAST_NANOSECOND = "2262-04-11T23:47:16.854775807Z"


def templates_of_files():
    """What contrib/elasticsearch/load is to load."""
    found = {"_component_template": {}, "_index_template": {}}
    for path in TEMPLATES.glob("*.json"):
        kind, record = path.stem.split("-")
        found[f"_{kind}_template"][f"netline-{record}"] = json.loads(path.read_text())
    return found


def index_of(record, namespace="default"):
    """The data stream that a record of netline belongs to."""
    template = templates_of_files()["_index_template"][dataset_of(record).replace(".", "-")]
    return template["index_patterns"][0].replace("*", namespace)


def id_of(record):
    return f"{record['agent']['ephemeral_id']}-{dataset_of(record)}-{record['event']['sequence']}"


def _text(document):
    """By which documents are compared: 1, 1.0 and true are not the same."""
    return json.dumps(document, sort_keys=True)


def assert_shipped(elastic, records, namespace="default"):
    """Each of the records is a document, once, unchanged, in its place, and nothing else is."""
    assert not elastic.findings, elastic.findings[:5]
    got = {(index, name): _text(document) for index, name, document in elastic.documents}
    indices = {dataset: index_of(record, namespace) for dataset, record in {dataset_of(r): r for r in records}.items()}
    wanted = {(indices[dataset_of(record)], id_of(record)): _text(record) for record in records}
    assert len(got) == len(elastic.documents) and len(wanted) == len(records)
    missing, strange = wanted.keys() - got.keys(), got.keys() - wanted.keys()
    assert not missing, f"{len(missing)} of {len(wanted)} did not arrive, and {len(strange)} others did: {sorted(missing)[:5]}, {sorted(strange)[:5]}"
    assert not strange, f"{len(strange)} that nobody has written: {sorted(strange)[:5]}"
    for key, text in wanted.items():
        assert got[key] == text, f"{key} was changed:\n{text}\n{got[key]}"


# The mappings

def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_ip(value):
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def _is_date(value):
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", value):
        return False
    try:
        datetime.datetime.fromisoformat(value[:19])
    except ValueError:
        return False
    return "1970" <= value <= LAST_NANOSECOND


def _is_histogram(value):
    return isinstance(value, dict) and value.keys() == {"values", "counts"} and len(value["values"]) == len(value["counts"]) \
        and all(map(_is_number, value["values"])) and value["values"] == sorted(value["values"]) \
        and all(isinstance(count, int) and count >= 0 for count in value["counts"])


TYPES = {
    "keyword": lambda value: isinstance(value, str),
    "match_only_text": lambda value: isinstance(value, str),
    "long": lambda value: type(value) is int and value in LONG,  # no bool, which is an int, too
    "scaled_float": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "ip": _is_ip,
    "date_nanos": _is_date,
    "histogram": _is_histogram,
}


def merged(a, b):
    """Two templates' parts, as the product composes them: objects are merged, and else the later one wins."""
    return {**a, **{key: merged(a[key], value) if isinstance(value, dict) and isinstance(a.get(key), dict) else value for key, value in b.items()}}


def _dynamic(mappings, path, value):
    """The mapping of a field that a dynamic object does not have yet, from the dynamic templates; None: there is none."""
    kind = {str: "string", bool: "boolean", int: "long", float: "double", dict: "object"}.get(type(value))
    for template in mappings.get("dynamic_templates", []):
        rule, = template.values()
        if fnmatch.fnmatchcase(path, rule["path_match"]) and rule["match_mapping_type"] == kind:
            return rule["mapping"]
    return None


def misfits(mappings, value, mapping=None, path=""):
    """What of a document does not fit, as texts."""
    mapping = mapping or mappings
    kind = mapping.get("type", "object")
    if kind != "object":
        values = value if isinstance(value, list) else [value]
        return [f"{path} is no {kind}: {json.dumps(value)}" for value in values if not TYPES[kind](value)]
    if not isinstance(value, dict):
        return [f"{path} is no object: {json.dumps(value)}"]
    found = []
    for key, inner in value.items():
        name = f"{path}.{key}".lstrip(".")
        its = mapping.get("properties", {}).get(key) or (_dynamic(mappings, name, inner) if mapping.get("dynamic") else None)
        found += misfits(mappings, inner, its, name) if its else [f"{name} has no mapping: {json.dumps(inner)}"]
    return found


# The server

class _Refused(Exception):
    """Of one item, or of a whole request: status, type, reason."""


class Elastic:
    def __init__(self, ns=None, loaded=True):
        self.documents, self.findings, self.conflicts, self.met, self.fault = [], [], 0, collections.Counter(), None
        self.templates = templates_of_files() if loaded else {"_component_template": {}, "_index_template": {}}
        self._ns, self._lock, self._ids = ns, threading.Lock(), set()

    def __enter__(self):
        def serve():
            return _Server(("127.0.0.1", 0), _handler(self))

        self._server = in_namespace_of(self._ns, serve) if self._ns else serve()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server.close_connections()

    def wait_for(self, number, timeout=20, told=lambda: ""):
        wait_until(lambda: len(self.documents) >= number or self.findings, timeout, lambda: f"{number} documents; {len(self.documents)} came; {told()}")

    def answer(self, method, path, body, kind):
        """(status, JSON, or bytes of another kind) of a request, or None: no answer."""
        if self.fault == "cut":
            self.met["cut"] += 1
            return None
        first, _, name = path.strip("/").partition("/")
        if method in ("POST", "PUT") and (first == "_bulk" or name == "_bulk"):
            return self._bulk("" if first == "_bulk" else first, body, kind)
        with self._lock:
            if first in self.templates and method == "PUT":
                return self._put(first, name, body)
            if first in self.templates and method in ("GET", "HEAD"):
                return (200, {first.lstrip("_") + "s": []}) if name in self.templates[first] else (404, {})
        if method in ("GET", "HEAD"):
            answers = {
                "": {"name": "stand-in", "cluster_name": "stand-in", "cluster_uuid": "AAAAAAAAAAAAAAAAAAAAAA", "tagline": "You Know, for Search",
                     "version": {"number": "8.15.0", "build_flavor": "default", "lucene_version": "9.11.1",
                                 "minimum_wire_compatibility_version": "7.17.0", "minimum_index_compatibility_version": "7.0.0"}},
                "_license": {"license": {"status": "active", "type": "basic", "mode": "basic", "uid": "0"}},
                "_xpack": {"license": {"status": "active", "type": "basic", "mode": "basic", "uid": "0"}, "features": {}},
                "_cat/health": {}, "_cluster/health": {"status": "green"},
            }
            if path.strip("/") in answers:
                return 200, answers[path.strip("/")]
        return 404, {"error": f"the stand-in has no {method} {path}", "status": 404}

    def _put(self, kind, name, body):
        template = json.loads(body)
        missing = [part for part in template.get("composed_of", []) if part not in self.templates["_component_template"]]
        if missing:
            return 400, {"error": {"type": "invalid_index_template_exception",
                                   "reason": f"index_template [{name}] invalid, cause [index template [{name}] specifies component templates {missing} "
                                             "that do not exist]"}, "status": 400}
        self.templates[kind][name] = template
        return 200, {"acknowledged": True}

    def _bulk(self, index, body, kind):
        fault = self.fault
        if fault is not None:
            self.met[fault] += 1
        if fault == 502:
            return 502, b"<html>Bad Gateway</html>"
        if isinstance(fault, int):
            return fault, {"error": {"type": "unavailable", "reason": f"status {fault}"}, "status": fault}
        try:
            items = self._items(index, body, kind, fault == "busy")
        except _Refused as refused:
            status, name, reason = refused.args
            self.findings.append(reason)
            return status, {"error": {"type": name, "reason": reason}, "status": status}
        answer = {"took": 1, "errors": any("error" in item for each in items for item in each.values()), "items": items}
        return None if fault == "unanswered" else (200, answer)

    def _items(self, index, body, kind, busy):
        if kind.split(";")[0].strip() not in ("application/json", "application/x-ndjson", "application/vnd.elasticsearch+x-ndjson"):
            raise _Refused(406, "media_type_header_exception", f"Content-Type [{kind}] is not supported")
        if not body.endswith(b"\n"):
            raise _Refused(400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
        lines, items = iter(body[:-1].split(b"\n")), []
        for line in lines:
            try:
                (action, of), = parse_line(line).items()
                if strange := of.keys() - META:  # _type of former days is one
                    raise ValueError(strange)
            except (AssertionError, ValueError, AttributeError):
                raise _Refused(400, "illegal_argument_exception", f"Malformed action/metadata line: {line!r}") from None
            data = b"" if action == "delete" else next(lines, b"")
            item = {"_index": of.get("_index", index), "_id": of.get("_id")}
            try:
                with self._lock:
                    if busy and len(items) % 2:
                        raise _Refused(429, "es_rejected_execution_exception", "rejected execution")
                    self._store(action, item, data)
                item |= {"_version": 1, "result": "created", "_shards": {"total": 1, "successful": 1, "failed": 0}, "_primary_term": 1, "status": 201}
            except _Refused as refused:
                status, name, reason = refused.args
                if status not in (409, 429):
                    self.findings.append(f"{item['_index']}: {reason}")
                item |= {"status": status, "error": {"type": name, "reason": reason}}
            items.append({action: item})
        return items

    def _store(self, action, item, data):
        index, name = item["_index"], item["_id"]
        found = [t for t in self.templates["_index_template"].values() if any(fnmatch.fnmatchcase(index, p) for p in t["index_patterns"])]
        if not found:
            raise _Refused(404, "index_not_found_exception", f"no index template matches {index!r}")
        if action != "create":
            raise _Refused(400, "illegal_argument_exception", f"{action}: only write ops with an op_type of create are allowed in data streams")
        template, settings = max(found, key=lambda template: template.get("priority", 0)), {}
        for part in [*(self.templates["_component_template"][part]["template"] for part in template["composed_of"]), template.get("template", {})]:
            settings = merged(settings, part)
        try:
            document = parse_line(data)
        except AssertionError as error:
            raise _Refused(400, "document_parsing_exception", str(error)) from None
        wrong = misfits(settings["mappings"], document) if isinstance(document, dict) else ["no object"]
        if not wrong and "@timestamp" not in document:
            wrong = ["data stream timestamp field [@timestamp] is missing"]
        if wrong:
            raise _Refused(400, "document_parsing_exception", f"{'; '.join(wrong)}, in {data.decode()}")
        if name is None:  # the product makes one up
            name = item["_id"] = f"made-up-{time.monotonic_ns()}-{len(self.documents)}"
        if (index, name) in self._ids:
            self.conflicts += 1
            raise _Refused(409, "version_conflict_engine_exception", f"[{name}]: version conflict, document already exists (current version [1])")
        self._ids.add((index, name))
        self.documents.append((index, name, document))


class _Server(http.server.ThreadingHTTPServer):
    """Ends with its connections: shippers keep theirs open."""

    block_on_close = False

    def __init__(self, *args):
        super().__init__(*args)
        self._connections, self._threads_of = set(), []

    def process_request(self, request, client_address):
        self._connections.add(request)
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address))
        self._threads_of.append(thread)
        thread.start()

    def shutdown_request(self, request):
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self):
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has just ended
                pass
        for thread in self._threads_of:
            thread.join()


def _handler(elastic):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _body(self):
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                data = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                size = int(self.headers.get("Content-Length", 0))
                data = self.rfile.read(size)
                if len(data) < size:
                    raise ConnectionError("the shipper was killed")
            return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

        def _do(self):
            answer = elastic.answer(self.command, self.path.partition("?")[0], self._body(), self.headers.get("Content-Type", ""))
            if answer is None:
                self.close_connection = True
                return
            status, content = answer
            html = isinstance(content, bytes)
            data = content if html else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Type", "text/html" if html else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = _do

        def handle(self):
            try:
                super().handle()
            except ConnectionError:  # the shipper has gone
                pass

        def log_message(self, *args):
            """Nothing, on stderr."""

    return Handler
