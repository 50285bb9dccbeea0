from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.registry import build
from tests.real import clip_of


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ready() -> Callable[[str], Extractor]:
    """Extractors with random weights after ``setup``, each loaded once."""
    loaded: dict[str, Extractor] = {}

    def get(name: str) -> Extractor:
        if name not in loaded:
            loaded[name] = build([name], {}, "random")[0].setup("cpu")
        return loaded[name]

    return get


@pytest.fixture
def clip() -> Callable[[str], Path]:
    """Real clips and cases by name; the test is skipped where they are not."""

    return clip_of
