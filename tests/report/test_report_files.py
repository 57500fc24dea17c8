# SPDX-License-Identifier: BSD-2-Clause
"""contrib/report: files that are cut, damaged, none of netline's, hostile, many or large."""
import base64
import copy
import gzip
import http.server
import json
import os
import threading

import pytest

import sums
from page import RECORDED, recorded
from test_report_sums import assert_sums


def lines(records):
    return "".join(json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n" for record in records).encode()


@pytest.fixture(scope="module")
def records():
    return recorded()


def example(records, name):
    return copy.deepcopy(sums.of(records, name)[0])


def written(path, data):
    path.write_bytes(data)
    return path


def test_empty_file(page, tmp_path):
    page.open(written(tmp_path / "empty.jsonl", b""))
    assert page.state == "none" and page.notes() == ["The file is empty."] and page.one("#nothing").is_displayed()
    page.open(RECORDED)
    assert page.state == "report" and page.notes() == []


@pytest.mark.parametrize("data, note", [
    (b"once upon a time\n" * 3, "3 lines are not JSON."),
    (os.urandom(3_000_000).replace(b"\n", b"") + b"\n", "1 line is not JSON."),
    (b'[1]\n"x"\nnull\n{}\n{"event":{"dataset":"nginx.access"}}\n', "5 lines are JSON, but no netline records."),
    (b'{"@timestamp":"2026-01-01T00:00:00.000000000Z"', "The last line of a.jsonl is cut: netline was writing it, or was killed. All before it is here."),
], ids=["text", "binary", "other JSON", "one torn line"])
def test_nothing_of_netline(page, tmp_path, data, note):
    page.open(written(tmp_path / "a.jsonl", data))
    assert page.state == "none" and page.notes() == [note]


def test_torn_and_damaged_lines(page, tmp_path, records):
    good = lines(records[:50])
    page.open(written(tmp_path / "a.jsonl", good + b"\x00\xff\x80{\n\n \r\n" + lines(records[50:100]) + lines(records[100:101])[:200]))
    assert page.data["lines"]["read"] == 100 and page.data["lines"]["unreadable"] == 1
    assert page.notes() == ["1 line is not JSON.", "The last line of a.jsonl is cut: netline was writing it, or was killed. All before it is here."]
    assert page.facts()["Not read"].startswith("1")
    page.open(written(tmp_path / "b.jsonl", good[:-1]))  # without the last newline it is whole
    assert page.data["lines"]["read"] == 50 and page.notes() == []


def test_compressed_file_that_ends_early(page, tmp_path):
    page.open(written(tmp_path / "a.jsonl.gz", RECORDED.read_bytes()[:100_000]))
    assert 0 < page.data["lines"]["read"] < len(recorded())
    note = page.notes()[-1]
    assert note.startswith("a.jsonl.gz could not be read to its end (") and note.endswith("): what was read until there is here. If it is being written, open a copy.")


def test_file_that_grows(page, tmp_path, records):
    """The browser does not read a file that has changed since it was chosen: that is told."""
    path = written(tmp_path / "a.jsonl", lines(records))
    page.js("document.getElementById('file').addEventListener('change', (event) => { window.chosen = [...event.target.files]; event.stopImmediatePropagation(); }, true)")
    page.choose(path)
    page.wait(lambda: page.js("return window.chosen?.length"), "the choice")
    written(path, lines(records) * 2)
    os.utime(path, (2e9, 2e9))
    page.js("open(chosen)")
    page.wait(lambda: page.state == "none", "the end")
    assert page.notes()[0].endswith("If it is being written, open a copy.")


def test_several_files_in_any_order(page, tmp_path, records):
    """They are one report; a name tells nothing of whether they are compressed."""
    half = len(records) // 2
    page.open(written(tmp_path / "b", gzip.compress(lines(records[half:]))), written(tmp_path / "a.gz", lines(records[:half])))
    assert_sums(page.data, records)
    assert "b (" in page.text("#files") and "a.gz (" in page.text("#files") and page.notes() == []
    page.open(RECORDED, written(tmp_path / "copy.gz", RECORDED.read_bytes()))
    assert page.notes() == ["There are records twice: the same file was opened twice, or its copy."]


def test_missing_sequence_numbers(page, tmp_path, records):
    """A file may begin anywhere, but a gap in it is told."""
    of_bytes = sums.of(records, "tcp_bytes")
    page.open(written(tmp_path / "a.jsonl", lines(of_bytes[10:20] + of_bytes[23:40])))
    assert page.rows("#records") == [["tcp_bytes", "27", "3", ""]]
    assert "Missing between the sequence numbers that are there: 3 netline.tcp_bytes." in page.text("#losses")


def test_drag_and_drop(page):
    page.js("""const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0))], "dropped.gz"));
        document.body.dispatchEvent(new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: transfer}));""", base64.b64encode(RECORDED.read_bytes()).decode())
    page.wait(lambda: page.state == "report", "the dropped file to be read")
    assert "dropped.gz" in page.text("#files")


def test_what_the_page_does_not_know(page, tmp_path, records):
    known, newer, lacking, huge = (example(records, name) for name in ("tcp_inerrs", "tcp_inerrs", "tcp_bytes", "tcp_bytes"))
    newer["netline"]["schema"] = 2
    del lacking["netline"]["bytes"]["sent"]
    huge["netline"]["bytes"]["sent"] = 2**63 - 1
    strange = []
    for name in ("constructor", "result", "count", "quic"):
        strange.append(example(records, "tcp_inerrs"))
        strange[-1]["event"]["dataset"] = f"netline.{name}"
    page.open(written(tmp_path / "a.jsonl", lines([known, newer, lacking, huge, *strange])))
    assert page.notes() == [
        "1 record lacks fields that this page needs.", "Some numbers are above 2^53: they are rounded.", "Records of schema version 1, 2: this page knows version 1.",
        "There are records twice: the same file was opened twice, or its copy.",
        *(f"1 record of netline.{name}: this page does not know it." for name in ("constructor", "result", "count", "quic"))]
    assert page.rows("#processes")[0][3] == "9.22 EB"


EVIL = "<img src=x onerror=document.title='evil'>"


def test_hostile_names(page, tmp_path, records):
    """Whatever stands in a record is text."""
    def evil(value, path=""):
        if isinstance(value, dict):
            return {key: evil(each, f"{path}.{key}") for key, each in value.items()}
        kept = (".@timestamp", ".event.start", ".event.dataset", ".event.outcome", ".event.action", ".network.direction", ".netline.nic.scope", ".netline.scope")
        return f"{EVIL}{value}" if isinstance(value, str) and path not in kept else value

    changed = [evil(record) for record in records]
    other = example(changed, "tcp_bytes")
    other["event"]["dataset"] = f"netline.{EVIL}"
    page.open(written(tmp_path / f"{EVIL.replace('/', '')}.jsonl", lines([*changed, other])))
    assert page.js("return document.querySelectorAll('img, script').length") == 2, "the page's own two scripts"
    assert page.driver.title == "netline report"
    for panel in ("#summary", "#throughput", "#failures", "#processes", "#delays-in", "#waits", "#losses", "#accounts", "#records", "#notes", "#files"):
        if panel not in ("#delays-in", "#waits"):
            assert EVIL[:20] in page.js("return document.querySelector(arguments[0]).textContent", panel), panel
    assert page.data["lines"]["read"] == len(records) + 1


def test_nothing_leaves_the_page(page, tmp_path):
    """No request is made; and if something tried to, the policy refuses it."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    page.requests()
    page.driver.refresh()
    page.open(RECORDED)
    page.js("charts[0].plot.focus()")
    assert [url for url in page.requests() if not url.startswith(("file:///", "blob:null/"))] == []
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        refused = page.driver.execute_async_script("""
            const [address, done] = arguments, results = [];
            const wait = (make) => new Promise((finished) => { const each = make(); each.onload = () => finished("loaded"); each.onerror = () => finished("refused"); });
            const worker = () => new Worker(URL.createObjectURL(new Blob([`fetch("${address}/worker").then(() => postMessage("loaded"), () => postMessage("refused"))`])));
            Promise.all([
                fetch(address + "/fetch").then(() => "loaded", () => "refused"),
                wait(() => Object.assign(new Image(), {src: address + "/image"})),
                wait(() => document.head.appendChild(Object.assign(document.createElement("script"), {src: address + "/script"}))),
                wait(() => document.head.appendChild(Object.assign(document.createElement("link"), {rel: "stylesheet", href: address + "/style"}))),
                new Promise((finished) => { worker().onmessage = ({data}) => finished(data); }),
            ]).then(done);""", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    assert refused == ["refused"] * 5 and asked == []
    assert all("Content Security Policy" in problem["message"] for problem in page.problems())


