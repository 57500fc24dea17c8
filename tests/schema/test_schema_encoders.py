# SPDX-License-Identifier: BSD-2-Clause
"""One record, one line: the encoder, jansson and an snprintf written by hand agree to the byte, as make bench wants them."""
import json
import subprocess

from contract import ROOT


def test_encoders_agree():
    """The program ends with 1, and both lines, where they do not."""
    done = subprocess.run([ROOT / "build/tests/bench/encode"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    samples = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(samples) == 6 and all(sample["jansson_ratio"] and sample["printf_ratio"] for sample in samples)
