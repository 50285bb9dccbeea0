"""What the examples of the docs read: a store, and what was exported from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meldflow.models.extractors.registry import build
from meldflow.models.schema.utterances import EMOTIONS, Utterance
from meldflow.storage import open_store
from meldflow.storage.exports import export, select
from tests.storage.corpus import extract, utterance

DIALOGUES = {"train": 3, "dev": 1, "test": 2}
"""Split → dialogues of four utterances each."""


def utterances() -> list[Utterance]:
    """Two people who go through all emotions; the last utterance is silent."""
    places = [(split, d, u) for split, n in DIALOGUES.items() for d in range(n) for u in range(4)]
    last = len(places) - 1
    return [
        replace(
            utterance(
                i, text="silent" if i == last else f"words {i}", emotion=EMOTIONS[i % len(EMOTIONS)]
            ),
            split=split,
            dialogue=dialogue,
            utterance=number,
            speaker=("Ann", "Bob")[number % 2],
        )
        for i, (split, dialogue, number) in enumerate(places)
    ]


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the docs name: ``demo/store``, and exports of it."""
    folder = tmp_path_factory.mktemp("docs")
    specs = tuple(one.spec for one in build(None, {}, "random"))
    (folder / "demo").mkdir()
    extract(folder / "demo" / "store", utterances(), specs)
    for name, target in (("zarr", "features.zarr"), ("parquet", "features")):
        export(
            select(open_store(str(folder / "demo" / "store")), ref="main"),
            format_name=name,
            target=folder / target,
            command="",
            advance=lambda amount: None,
        )
    return folder
