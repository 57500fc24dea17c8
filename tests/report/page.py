# SPDX-License-Identifier: BSD-2-Clause
"""The page in a headless Chromium of its own profile."""
import contextlib
import gzip
import json
import os
import pathlib
import shutil
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REPORT = ROOT / "contrib/report"
PAGE = REPORT / "netline-report.html"
RECORDED = HERE / "recorded.jsonl.gz"
LIMIT = 30
WIDTH = 1400
ZONE = "Asia/Kathmandu"  # UTC+5:45
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
           "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", f"--window-size={WIDTH},1000"]


def recorded():
    return [json.loads(line) for line in gzip.decompress(RECORDED.read_bytes()).splitlines()]


@contextlib.contextmanager
def chromium(zone=ZONE):
    """A WebDriver; it ends with everything that it has started or written."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        for option in [*OPTIONS, f"--user-data-dir={profile}"]:
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(service=Service(shutil.which("chromedriver"), env={**os.environ, "TZ": zone}), options=options)
        try:
            yield driver
        finally:
            driver.quit()


class Page:
    def __init__(self, driver):
        self.driver = driver
        driver.get_log("browser")
        driver.get(PAGE.as_uri())

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def choose(self, *paths):
        self.one("#file").send_keys("\n".join(map(str, paths)))

    def open(self, *paths):
        """Chooses files, and waits until the page has read them."""
        self.choose(*paths)
        self.wait(lambda: self.state in ("report", "none"), "the files to be read")
        return self

    @property
    def state(self):
        return self.js("return document.body.dataset.state")

    @property
    def data(self):
        return json.loads(self.js("return JSON.stringify(data, (_, value) => ArrayBuffer.isView(value) ? [...value] : value)"))

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def text(self, selector):
        return self.one(selector).text

    def rows(self, selector):
        """The cells of the tables' rows that are shown, without headings."""
        return self.js("return [...document.querySelectorAll(arguments[0])].map((row) => [...row.children].map((cell) => cell.innerText.trim()))", f"{selector} tbody tr")

    def facts(self):
        return dict(self.js("return [...document.querySelectorAll('.fact')].map((fact) => [...fact.children].map((each) => each.innerText))"))

    def notes(self):
        return self.js("return [...document.querySelectorAll('#notes li')].map((each) => each.textContent)")

    def wait(self, condition, what, limit=LIMIT):
        from selenium.webdriver.support.ui import WebDriverWait
        return WebDriverWait(self.driver, limit, 0.05).until(lambda _: condition(), f"waited {limit} s for {what}")

    def problems(self):
        """What the browser complained of."""
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self):
        """The addresses that were asked for since this was asked before."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
