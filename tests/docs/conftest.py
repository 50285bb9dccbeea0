"""What the examples of the docs read: a store, and what was exported from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meldflow.models.extractors.registry import build
from meldflow.storage import open_store
from meldflow.storage.exports import export, select
from tests.storage.corpus import corpus, extract, utterance


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the docs name: ``demo/store`` and its like, and exports of it."""
    folder = tmp_path_factory.mktemp("docs")
    specs = tuple(one.spec for one in build(None, {}, "random"))
    (folder / "demo").mkdir()
    extract(folder / "demo" / "store", [*corpus(23), utterance(23, text="silent")], specs)
    (folder / "store").symlink_to("demo/store")
    for name, target in (("zarr", "features.zarr"), ("parquet", "features")):
        export(
            select(open_store(str(folder / "store")), ref="main"),
            format_name=name,
            target=folder / target,
            command="",
            advance=lambda amount: None,
        )
    return folder
