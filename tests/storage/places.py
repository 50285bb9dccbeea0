"""The places where a store may lie, for the tests that run on all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol


class Place(Protocol):
    """Somewhere that holds stores; the writers are other processes than the one that starts it."""

    def start(self) -> None:
        """Makes it ready."""

    def stop(self) -> None:
        """Ends whatever ``start`` began."""

    def url(self, name: str) -> str:
        """The address of the store called ``name``."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What a writer needs in its environment to get there."""


class LocalPlace:
    """A folder of this machine."""

    environment: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "local"

    def start(self) -> None:
        self._folder.mkdir()

    def stop(self) -> None:
        """Whoever gave the folder removes it."""

    def url(self, name: str) -> str:
        return str(self._folder / name)


PLACES: Mapping[str, Callable[[Path], Place]] = {"local": LocalPlace}
"""Name → what makes the place; its files go below the folder given."""
