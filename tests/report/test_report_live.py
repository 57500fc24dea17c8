# SPDX-License-Identifier: BSD-2-Clause
"""contrib/report: what netline writes now, in files that it has rotated."""
import os
import sys

import pytest

from page import ROOT
from test_report_sums import assert_sums

sys.path.insert(0, str(ROOT / "tests/e2e"))

from harness import NETLINE, Agent, Namespace, parse_lines  # noqa: E402
from puppet import Traffic  # noqa: E402


@pytest.mark.skipif(os.geteuid() != 0 or not NETLINE.exists(), reason="netline is to be run: build it, and be root")
def test_live_files(page, tmp_path):
    probes = ["nic_throughput", "tcp_connection", "tcp_bytes", "delay_analysis_in", "delay_analysis_out"]
    with Namespace() as ns:
        traffic = Traffic(ns, 200, max_bytes=20_000)
        with Agent("-o", f"file:{tmp_path}/netline.jsonl,rotate-size=300K", "-i", "0.2", *probes, ns=ns) as agent:
            traffic.run()
            agent.stop()
    files = sorted(tmp_path.iterdir())  # the newest has no time in its name, and is the last
    assert len(files) > 2, files
    records = parse_lines(b"".join(path.read_bytes() for path in files))
    page.open(*files)
    assert_sums(page.data, records)
    assert page.notes() == [] and page.state == "report"
