# SPDX-License-Identifier: BSD-2-Clause
"""contrib/report: the page itself: what it is built of, and how it is used."""
import base64
import hashlib
import json
import re
import subprocess
import sys

import pytest
import sums
from page import PAGE, RECORDED, REPORT, ROOT, WIDTH, recorded

CHARTS = ["throughput", "connections", "failures", "errors", "losses"]


def test_page_is_fresh(tmp_path):
    subprocess.run([sys.executable, REPORT / "build", tmp_path / "page.html"], check=True)
    assert (tmp_path / "page.html").read_bytes() == PAGE.read_bytes(), "to be built again: make report"


def test_vendored_files():
    """They are those of the release that package.json names."""
    package = json.loads((REPORT / "package.json").read_text())
    assert re.fullmatch(r"\d+\.\d+\.\d+", package["dependencies"]["uplot"])
    files = package["vendored"]["uplot"]["files"]
    assert {name.split("/")[-1] for name in files} == {path.name for path in (REPORT / "vendor").iterdir()}
    for name, integrity in files.items():
        data = (REPORT / "vendor" / name.split("/")[-1]).read_bytes()
        assert integrity == "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode(), name
    assert f"v{package['dependencies']['uplot']}" in (REPORT / "vendor/uPlot.iife.min.js").read_text()[:200]


def test_sources_make_no_markup():
    for path in (REPORT / "src").glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", path.read_text()), path


def leaves(schema, path=""):
    """{path: (type, whether it is always there)}"""
    found = {}
    for name, each in schema.get("properties", {}).items():
        always = name in schema.get("required", [])
        if each.get("type") == "object" or "properties" in each:
            found |= {below: (kind, always and there) for below, (kind, there) in leaves(each, f"{path}{name}.").items()}
        else:
            found[path + name] = (each, always)
    return found


def kind_of(schema):
    if "const" in schema or "enum" in schema:
        value = schema.get("const", schema.get("enum", [None])[0])
        return "text" if isinstance(value, str) else "number"
    if schema["type"] == "array":
        return f"{kind_of(schema['items'])}s"
    return {"string": "text", "integer": "number", "number": "number"}[schema["type"]]


def test_fields_are_those_of_the_schemas(page):
    """Each path that the page reads is in the schema, with that type; and what it cannot do without is required there."""
    plans = {each["dataset"].removeprefix("netline."): each["fields"] for each in page.open(RECORDED).data["fields"]}
    envelope = plans.pop("*")
    schemas = {path.stem: json.loads(path.read_text()) for path in (ROOT / "schema").glob("*.json") if path.stem != "config"}
    assert plans.keys() == schemas.keys()
    for name, fields in plans.items():
        found = leaves(schemas[name])
        for field in [*envelope, *fields]:
            schema, always = found[field["path"]]
            assert {"time": "text"}.get(field["type"], field["type"]) == kind_of(schema), (name, field)
            assert field["optional"] == (not always), (name, field)


def scales(page):
    return page.js("return charts.map(({chart}) => [chart.scales.x.min, chart.scales.x.max])")


def test_zoom(page):
    """Dragging over one chart zooms all, the legend tells the sums of what is shown, and the keyboard does the same."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys
    records = recorded()
    page.open(RECORDED)
    whole = scales(page)
    assert len(whole) == len(CHARTS) and all(each == whole[0] for each in whole) and not page.one("#whole").is_enabled()
    over = page.one("#connections .u-over")
    ActionChains(page.driver).move_to_element_with_offset(over, -100, 0).click_and_hold().move_by_offset(80, 0).release().perform()
    zoomed = scales(page)
    assert all(each == zoomed[0] for each in zoomed)
    length = whole[0][1] - whole[0][0]
    assert zoomed[0][1] - zoomed[0][0] == pytest.approx(length * 80 / over.size["width"], rel=0.03)
    assert page.one("#whole").is_enabled()
    page.js("zoom(Math.ceil(data.first) + 5, Math.ceil(data.first) + 9.95)")
    (start, end), = {tuple(each) for each in scales(page)}
    legend = {name: int(shown.replace(",", "")) for name, shown, _ in page.rows("#errors .legend")}
    expected = {}
    for record in sums.of(records, "tcp_inerrs"):
        # the bins of both ends are shown
        inside = int(start * 10) / 10 <= sums.moment(record) < int(end * 10 + 1) / 10
        expected[record["event"]["reason"]] = expected.get(record["event"]["reason"], 0) + record["netline"]["inerr"]["count"] * inside
    assert legend == expected
    page.one("#whole").click()
    assert scales(page) == whole
    plot = page.one("#throughput .plot")
    plot.send_keys("+")
    (start, end), = {tuple(each) for each in scales(page)}
    assert end - start == pytest.approx(length / 2)
    plot.send_keys(Keys.ARROW_RIGHT)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d, 0.1 s", page.text("#throughput .legend th"))
    plot.send_keys("---")
    assert scales(page) == whole
    plot.send_keys("+", Keys.ESCAPE)
    assert scales(page) == whole


def test_legend(page):
    """It tells the values at the cursor with their units, and hides what is not wanted, without moving anything."""
    from selenium.webdriver.common.action_chains import ActionChains
    page.open(RECORDED)
    before = page.js("return document.documentElement.scrollHeight")
    ActionChains(page.driver).move_to_element(page.one("#throughput .u-over")).perform()
    for row in page.rows("#throughput .legend"):
        assert all(re.fullmatch(r"[\d.]+ [kMG]?bit/s", value) for value in row[1:3]) and all(re.fullmatch(r"[\d.]+ [kMG]?B", value) for value in row[3:])
    at = page.text("#throughput .legend th")
    assert ", " in at and page.text("#errors .legend th").startswith(at[:19]), "one cursor for all charts"
    button = page.one("#connections .series")
    button.click()
    assert button.get_attribute("aria-pressed") == "false" and page.rows("#connections .legend")[0][1] == "–"
    assert page.js("return document.documentElement.scrollHeight") == before
    button.click()
    ActionChains(page.driver).move_to_element(page.one("#waits svg")).perform()
    assert re.fullmatch(r"[\d.]+ [nµm]?s – [\d.]+ [nµm]?s: \d+ connections? \([\d.]+ %\)", page.text("#tip"))


def test_time_zone(page):
    page.open(RECORDED)
    first = min(sums.seconds(record["event"]["start"]) for record in recorded() if "start" in record["event"])
    day = 86400

    def clock(seconds):
        return f"{int(seconds % day / 3600):02}:{int(seconds % 3600 / 60):02}:{int(seconds % 60):02}"

    assert page.facts()["From"].startswith(clock(first + 5.75 * 3600)) and re.search("Asia/Kath?mandu$", page.facts()["From"])
    page.one("#utc").click()
    assert page.facts()["From"].startswith(clock(first)) and page.facts()["From"].endswith("UTC")
    assert clock(first) in page.text("#range")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colors(page, scheme):
    """Texts and series can be told from the ground (texts by the 4.5 of WCAG)."""
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    try:
        page.open(RECORDED)
        names = ["panel", "text", "muted", "accent", "bad", "s1", "s2", "s3", "s4", "s5", "s6", "s7"]
        colors = dict(zip(names, page.js("return arguments[0].map(color)", names)))
        for name in names[1:]:
            assert contrast(colors[name], colors["panel"]) >= (4.5 if name in ("text", "muted", "accent", "bad") else 1.9), name
        assert page.js("return charts[0].chart.series[1].stroke()") == colors["s1"]
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def luminance(color):
    text = color[1:] if len(color) == 7 else "".join(c * 2 for c in color[1:])
    parts = [int(text[i:i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_it_fits(page):
    """No line of the page runs out of it, on wide and narrow windows; the charts follow."""
    page.open(RECORDED)
    for width in (WIDTH, 1000, 700):
        page.driver.set_window_size(width, 1000)
        page.wait(lambda: page.js("return charts.every((chart) => chart.chart.width === chart.plot.clientWidth)"), "the charts to have the new width")
        assert page.js("return document.documentElement.scrollWidth <= innerWidth"), width
    page.driver.set_window_size(WIDTH, 1000)


def test_print(page):
    """The charts are drawn for the paper, and then for the window again."""
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    try:
        page.open(RECORDED)
        shown = "[color('text'), ...charts.map(({chart}) => chart.width)]"
        before = page.js(f"return {shown}")
        page.js(f"addEventListener('beforeprint', () => {{ window.printed = {shown}; }}); addEventListener('afterprint', () => {{ window.after = {shown}; }});")
        assert len(base64.b64decode(page.driver.print_page())) > 50_000
        page.wait(lambda: page.js("return window.after"), "the end of printing")
        color, *widths = page.js("return printed")
        assert color != before[0] and len(widths) == len(CHARTS) and max(widths) < 700
        assert page.js("return after") == before
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


HINTS = {
    "throughput": "No throughput in this file: run netline nic_throughput.", "connections": "No connections in this file: run netline tcp_connection.",
    "failures": "No failures in this file: run netline tcp_connection.", "processes": "No bytes of connections in this file: run netline tcp_bytes.",
    "errors": "No bad packets in this file: run netline tcp_inerrs.", "waits": "No handshakes and accepts in this file: run netline tcp_connection.",
    "delays-in": "No delay records in this file: run netline delay_analysis_in delay_analysis_out --summary.",
    "accounts": "No agent_status records in this file: files and sockets have them, stdout with netline -o stdout,agent=yes.", "losses": "No losses are told in this file.",
}


def test_empty_panels(page, tmp_path):
    """A panel without records says which probe makes them; if that was attached, that it had nothing to tell."""
    records = recorded()
    path = tmp_path / "a.jsonl"

    def bodies():
        return {name: page.text(f"#{name} .body") for name in HINTS}

    def hold(*names):
        path.write_text("".join(json.dumps(record) + "\n" for name in names for record in sums.of(records, name)))
        page.open(path)

    hold("delay_analysis_out")
    assert bodies() | {"delays-in": ""} == {**HINTS, "delays-in": ""}
    hold("nic_throughput")
    assert bodies() | {"throughput": ""} == {**HINTS, "throughput": ""}
    hold("agent_probe", "agent_status")
    found = bodies()
    assert found["errors"] == "No bad packets: tcp_inerrs was attached, and has reported none." and found["losses"] == "Nothing was lost."
