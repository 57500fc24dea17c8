# SPDX-License-Identifier: BSD-2-Clause
"""Tests that need what only the guests have; guarded as all end-to-end tests are."""
import importlib.util
import sys
from pathlib import Path

E2E = Path(__file__).resolve().parents[1] / "e2e"
sys.path.insert(0, str(E2E))

# Under a name of its own: this file is "conftest", too.
_spec = importlib.util.spec_from_file_location("e2e_conftest", E2E / "conftest.py")
_e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_e2e)

guarded = _e2e.guarded
pytest_configure = _e2e.pytest_configure
