# SPDX-License-Identifier: BSD-2-Clause
"""Tests that need what only the guests have; guarded as all end-to-end tests are."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from conftest import *  # noqa: E402, F401, F403
