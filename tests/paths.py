"""Where things lie that tests read."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout."""

DATA = ROOT.parent / "shared" / "data"
"""MELD's published annotations and real clips, beside the checkout; tests that need them are
skipped where they are not."""


def importable() -> str:
    """``PYTHONPATH`` of children that find this checkout and its tests, wherever they start."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys((str(ROOT / "src"), str(ROOT), *filter(None, given))))
