"""The folder that the toolkit of MERTools (github.com/zeroQiaoba/MERTools) reads for MELD.

``features/NAME-UTT/train_dia0_utt0.npy``
    a vector, shape (n_channels,), float32.
``features/NAME-FRA/train_dia0_utt0.npy``
    a sequence, shape (n_steps, n_channels), float32.
``label.npz``
    ``train_corpus``, ``val_corpus`` (MELD's dev) and ``test_corpus``, each a dict of an utterance's
    name → ``{"emo": index in EMOTIONS, "val": -10}``: MELD has no valence.
``transcription.csv``
    ``name`` and ``english``.

The toolkit takes every name of ``label.npz`` and opens its file in every folder, so only utterances
are kept that have all features. NaN, which says "undefined here", becomes 0: it would go through
the whole network. Arrays that are neither are not exported; the provenance names them.
"""

import csv
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.storage.exports.pickles import PortablePickler
from meldflow.storage.exports.selection import INCOMPLETE, Advance, Exported, Outcome, Selection
from meldflow.storage.format.arrays import FeatureArray, RaggedArray

SPLITS = {"train": "train", "dev": "val", "test": "test"}
"""Our splits → MERTools'."""

EMOTIONS = ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise")
"""By MERTools' class label for MELD (toolkit/preprocess/meld.py)."""

NO_VALENCE = -10

NO_EMOTION = "no emotion of the seven"


def write(selection: Selection, target: Path, advance: Advance) -> Outcome:
    """Writes the folder; one partition of one array is in memory at a time.

    Raises:
        UsageError: a split has no utterance, two utterances have one name, or no array is any use.
    """
    kept = _usable(selection)
    names = _names(kept)
    target.mkdir()
    _write_labels(kept, names, target)
    folders: dict[str, dict[str, Any]] = {}
    left_out: list[str] = []
    for one in kept.extractors:
        for array in one.arrays:
            if kind := _kind(one, array):
                folder = f"{one.name.replace('/', '-')}-{array.spec.name}-{kind}"
                undefined = _write_array(kept, array, names, target / "features" / folder)
                folders[folder] = {"array": f"{one.name}/{array.spec.name}", "zeros": undefined}
            else:
                left_out.append(f"{one.name}/{array.spec.name}")
            advance(len(selection.rows))
    if not folders:
        raise UsageError("mertools: no extractor gives a sequence or a vector of real numbers")
    zeros = {name: one["zeros"] for name, one in folders.items() if one["zeros"]}
    remarks = tuple(f"{name}: {n} values that were NaN are 0" for name, n in zeros.items())
    details = {"features": folders, "arrays_left_out": left_out}
    return Outcome(selection=kept, remarks=remarks, details=details)


def _usable(selection: Selection) -> Selection:
    """The utterances that the toolkit can take."""
    kept = selection.labelled("emotion", EMOTIONS, NO_EMOTION)
    has = [one.has(kept.rows) for one in kept.extractors]
    kept = kept.keep(np.logical_and.reduce(has), INCOMPLETE)
    for split in SPLITS:
        if not (selection.snapshot.utterances["split"][kept.rows] == split).any():
            raise UsageError(
                f"mertools needs train, dev and test, and no utterance of {split} is left that has "
                "an emotion and all features; leave extractors out with --only"
            )
    return kept


def _names(selection: Selection) -> dict[int, str]:
    """Row → ``train_dia0_utt0``; the name's slashes are none of a path."""
    names = {}
    for row in selection.rows.tolist():
        split, _, rest = selection.snapshot.ids[row].partition("/")
        names[row] = f"{SPLITS[split]}_{rest.replace('/', '_')}"
    name, times = Counter(names.values()).most_common(1)[0]
    if times > 1:
        raise UsageError(f"mertools: {times} utterances would be called {name!r}")
    return names


def _kind(one: Exported, array: FeatureArray) -> str:
    """``UTT`` for a vector, ``FRA`` for a sequence; empty for what is neither."""
    spec = array.spec
    n_axes = len(spec.shape) + isinstance(array, RaggedArray)
    if np.dtype(spec.dtype).kind != "f" or n_axes not in (1, 2):
        return ""
    if n_axes == 2:
        return "FRA" if spec.shape else ""
    # What has a value per step (a frame's time, its entropy) is no vector of channels.
    steps = {a.spec.dims[0] for a in one.arrays if len(a.spec.dims) > 1}
    return "UTT" if spec.dims[0] not in steps else ""


def _write_array(
    selection: Selection, array: FeatureArray, names: Mapping[int, str], folder: Path
) -> int:
    """Writes a file per utterance; how many values were undefined."""
    folder.mkdir(parents=True)
    undefined = 0
    for rows in selection.partitions():
        for row, stored in zip(rows.tolist(), array.read(rows), strict=True):
            values = stored.astype(np.float32)
            undefined += int(np.isnan(values).sum())
            np.save(folder / f"{names[row]}.npy", np.nan_to_num(values, nan=0.0))
    return undefined


def _write_labels(selection: Selection, names: Mapping[int, str], target: Path) -> None:
    table = selection.snapshot.utterances
    columns = (table[name][selection.rows].tolist() for name in ("split", "emotion", "text"))
    corpora: dict[str, dict[str, dict[str, int]]] = {f"{one}_corpus": {} for one in SPLITS.values()}
    with (target / "transcription.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("name", "english"))
        for row, split, emotion, text in zip(selection.rows.tolist(), *columns, strict=True):
            label = {"emo": EMOTIONS.index(emotion), "val": NO_VALENCE}
            corpora[f"{SPLITS[split]}_corpus"][names[row]] = label
            lines.writerow((names[row], text))
    with zipfile.ZipFile(target / "label.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, corpus in corpora.items():
            _write_object(archive, f"{name}.npy", np.array(corpus, dtype=object))


def _write_object(archive: zipfile.ZipFile, name: str, value: NDArray[np.object_]) -> None:
    """As ``numpy.savez`` does it, but so that an old NumPy can read it as well."""
    with archive.open(name, "w") as member:
        npy.write_array_header_1_0(member, npy.header_data_from_array_1_0(value))
        PortablePickler(member, protocol=4).dump(value)
