"""What holds for all tests."""

from __future__ import annotations

import os

from tests.paths import ROOT

# Children of tests find this checkout and its tests, whatever folder they start in.
os.environ["PYTHONPATH"] = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
