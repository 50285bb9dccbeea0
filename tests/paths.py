"""Where things lie that tests read."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout."""

IMPORTS = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
"""PYTHONPATH of children, which find this checkout and its tests from whatever folder."""

DATA = ROOT.parent / "shared" / "data"
"""MELD's published annotations and real clips, beside the checkout; tests that need them are
skipped where they are not."""
