# SPDX-License-Identifier: BSD-2-Clause
"""One browser for all tests; each has the page anew, and no test may make the browser complain."""
import importlib.util
import shutil

import pytest

from page import Page, chromium


@pytest.fixture(scope="session")
def driver():
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)] + ["selenium"] * (not importlib.util.find_spec("selenium"))
    if missing:
        pytest.skip(f"the report's page is tested in a browser, but there is no {', '.join(missing)} here: make deps")
    with chromium() as started:
        yield started


@pytest.fixture
def page(driver):
    found = Page(driver)
    yield found
    assert found.problems() == []
