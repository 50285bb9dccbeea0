"""Where meldflow and the others differ, and why that is known to be right."""

from __future__ import annotations

from collections.abc import Sequence

EXPLAINED: Sequence[tuple[str, str, str]] = ()
"""Name of the clip, what differs (both may hold ``*``), and the reason."""
