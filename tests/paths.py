"""Where things lie that tests read."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout."""

_GIVEN = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
IMPORTS = os.pathsep.join(dict.fromkeys((str(ROOT / "src"), str(ROOT), *_GIVEN)))
"""PYTHONPATH of children, which find this checkout and its tests from whatever folder."""

DATA = ROOT.parent / "shared" / "data"
"""MELD's published annotations and real clips, beside the checkout; tests that need them are
skipped where they are not."""
