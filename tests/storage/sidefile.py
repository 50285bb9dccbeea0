"""The writer's own log of a crash test: one JSON line per event, on disk before it goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

PHASES = ("create", "open", "sync", "write", "merge", "commit", "publish")
"""What a writer does, in the order in which it first does it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that a writer is about to do or has done."""

    kind: str
    """One of ``PHASES`` (about to do it), ``planned``, ``committed``, ``publishing`` or
    ``published``."""
    state: int
    snapshot: str = ""
    branch: str = ""
    rows: dict[str, list[str]] = field(default_factory=dict)
    """Extractor → ids of the utterances planned, or committed."""
    at: float = field(default_factory=time.monotonic)
    """When it happened, seconds on the machine's monotonic clock."""


class SideFile:
    """The log, which outlives the writer."""

    def __init__(self, path: Path, tell: Callable[[str], None] = lambda kind: None) -> None:
        self._path = path
        self._tell = tell

    def add(self, event: Event) -> None:
        """Appends an event; a kill leaves the whole line or part of one, never less."""
        with self._path.open("ab", buffering=0) as file:
            file.write(json.dumps(asdict(event)).encode() + b"\n")
            if event.kind not in PHASES:
                os.fsync(file.fileno())
        self._tell(event.kind)

    def read(self) -> list[Event]:
        """All events; a line without an end was never finished."""
        if not self._path.exists():
            return []
        lines = self._path.read_bytes().split(b"\n")[:-1]
        return [Event(**json.loads(line)) for line in lines]
