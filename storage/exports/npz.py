"""NumPy archives: one ``.npz`` per extractor and ``utterances.npz``.

No array holds objects, so that ``numpy.load`` needs no pickle: text is fixed-width unicode, and
a ragged array ``frames`` is the frames of all rows one after another, with ``frames_row_size``.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.storage.exports.formats import Advance, Outcome
from meldflow.storage.exports.selection import Exported, Selection, Source

_DATE = (1980, 1, 1, 0, 0, 0)
"""What ZIP calls the beginning of time: the same features give the same bytes."""


def write(selection: Selection, target: Path, advance: Advance) -> Outcome:
    """Writes the archives; one partition of one array is in memory at a time."""
    target.mkdir()
    columns = selection.utterances()
    with zipfile.ZipFile(target / "utterances.npz", "x") as archive:
        _columns(archive, columns)
    for one in selection.extractors:
        path = target / f"{one.name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "x") as archive:
            _columns(archive, {"id": columns["id"], **one.columns(selection.rows)})
            _features(archive, one, selection, advance)
    return Outcome(selection=selection)


def _features(
    archive: zipfile.ZipFile, one: Exported, selection: Selection, advance: Advance
) -> None:
    for source in one.sources:
        spec, length = source.spec, len(selection.rows)
        if source.is_ragged:
            sizes = source.row_size[selection.rows]
            _columns(archive, {f"{spec.name}_row_size": sizes})
            length = int(sizes.sum())
        shape, blocks = (length, *spec.shape), _blocks(source, selection, advance)
        _array(archive, spec.name, np.dtype(spec.dtype), shape, blocks)


def _blocks(source: Source, selection: Selection, advance: Advance) -> Iterable[NDArray[Any]]:
    for rows in selection.partitions():
        yield source.read(rows)
        advance(len(rows))


def _columns(archive: zipfile.ZipFile, columns: Mapping[str, NDArray[Any]]) -> None:
    for name, values in columns.items():
        plain = values.astype(np.str_) if values.dtype == object else values
        _array(archive, name, plain.dtype, plain.shape, [plain])


def _array(
    archive: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    blocks: Iterable[NDArray[Any]],
) -> None:
    """One member in NumPy's own file format, whose values come block by block."""
    header = io.BytesIO()
    described = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        header, {"descr": described, "fortran_order": False, "shape": shape}
    )
    entry = zipfile.ZipInfo(f"{name}.npy", _DATE)
    with archive.open(entry, "w", force_zip64=True) as member:
        member.write(header.getvalue())
        for block in blocks:
            member.write(np.ascontiguousarray(block).tobytes())
