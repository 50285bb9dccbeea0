"""Where things lie that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout."""

DATA = ROOT.parent / "shared" / "data"
"""MELD's published annotations and real clips, beside the checkout; tests that need them are
skipped where they are not."""
