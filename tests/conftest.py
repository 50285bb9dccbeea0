"""What holds for all tests."""

from __future__ import annotations

import os

from tests.paths import ROOT

# Children of tests find the modules of tests, whatever folder they start in.
os.environ["PYTHONPATH"] = str(ROOT)
