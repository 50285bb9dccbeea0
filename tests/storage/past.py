"""Stores that releases left behind: one archive each in ``stores/``, read by every later build.

Run ``python -m tests.storage.past NAME`` with a release that changes what a store holds, and
commit ``stores/NAME.tar.xz``. It holds the store, and in ``truth.npz`` what has to be read from it,
so that no later code has a say in that.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
import tarfile
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.features import ArraySpec, FeatureSpec
from meldflow.models.schema.media import Missing, Modality
from meldflow.models.schema.utterances import Utterance
from meldflow.storage import history
from meldflow.storage.history import maintain_store
from meldflow.storage.writing.transaction import open_run
from tests.storage.corpus import (
    NO_WEIGHTS,
    corpus,
    expected,
    extract_all,
    pictures_spec,
    utterance,
    voice_spec,
    words_spec,
)

STORES = Path(__file__).with_name("stores")
TAG = "first"
FEWER = 5
"""Utterances of the state that bears the tag; ``main`` has two more."""


def tracks_spec() -> FeatureSpec:
    """Frames with names for their columns and NaN among them, as librosa's descriptors."""
    frames = ArraySpec(
        name="tracks",
        dims=("frame", "descriptor"),
        shape=(3,),
        dtype="float32",
        rate=10.0,
        may_be_nan=True,
        columns=("rms", "f0", "voiced"),
    )
    return FeatureSpec(
        name="audio/tracks",
        modality=Modality.AUDIO,
        version=1,
        weights=NO_WEIGHTS,
        arrays=(frames,),
    )


SPECS = (voice_spec(), tracks_spec(), pictures_spec(), words_spec())


def utterances() -> list[Utterance]:
    """Seven, of which one has nothing to hear and one left the data set after the first state."""
    found = [*corpus(4), utterance(4, text="silent"), utterance(5), utterance(6)]
    found[2] = replace(found[2], name="Zoë’s")
    return [replace(one, clip=replace(one.clip, seconds=one.clip.seconds / 10)) for one in found]


def truth() -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """``extractor/array|utterance`` → values on ``main``; ``extractor|utterance`` → its failure."""
    values: dict[str, NDArray[Any]] = {}
    failures = {}
    for spec in SPECS:
        for one in utterances()[1:]:
            record = expected(spec, one)
            if isinstance(record, Missing):
                failures[f"{spec.name}|{one.id}"] = record.reason.value
                continue
            values |= {f"{spec.name}/{name}|{one.id}": value for name, value in record.items()}
    return values, failures


def make(folder: Path) -> None:
    """Writes the store, with two states, a tag and a failed row, and its truth beside it."""
    store = str(folder / "store")
    for n, last in ((0, FEWER), (1, None)):
        with open_run(store, SPECS, partition=4, origin={"torch": "1"}) as run:
            extract_all(run, utterances()[n:last], SPECS)
            run.publish()
        if last:
            history.tag(store, TAG)
    maintain_store(store, older_than_days=0)  # or it would take twice the room
    values, failures = truth()
    np.savez_compressed(folder / "truth.npz", **values)  # type: ignore[arg-type]
    packages = ("icechunk", "numpy", "zarr")
    about = {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
        "ids": [one.id for one in utterances()],
        "failures": failures,
        "keys": {spec.name: spec.key for spec in SPECS},
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A store of a release, unpacked."""

    url: str
    about: dict[str, Any]
    values: dict[str, NDArray[Any]]


def unpack(name: str, folder: Path) -> Past:
    """The store called ``name``, put into ``folder``."""
    with tarfile.open(STORES / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    with np.load(folder / "truth.npz") as values:
        return Past(
            url=str(folder / "store"),
            about=json.loads((folder / "about.json").read_text()),
            values=dict(values),
        )


def main(name: str) -> None:
    """Makes ``stores/<name>.tar.xz``."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        (Path(folder) / "store.lock").unlink()
        with tarfile.open(STORES / f"{name}.tar.xz", "x:xz") as archive:
            for one in sorted(Path(folder).iterdir()):
                archive.add(one, one.name)


if __name__ == "__main__":
    main(sys.argv[1])
