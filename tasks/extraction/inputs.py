"""What an extraction starts from, as its options say: extractors and utterances."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from meldflow.models.clips.options import NVDEC
from meldflow.models.extractors import registry
from meldflow.models.extractors.contract import Extractor
from meldflow.models.running.computing import Computing, choose
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Reason
from meldflow.models.schema.utterances import Clip
from meldflow.storage import open_store
from meldflow.storage.format.columns import ColumnTable, array_of
from meldflow.storage.places import location
from meldflow.storage.reading.snapshot import Snapshot
from meldflow.tasks.cluster.profile import load_profile
from meldflow.tasks.dataset import Intake, check_folder, check_source, take_in, take_in_folder
from meldflow.tasks.dataset.records import ABSENT, Known
from meldflow.tasks.options import ExtractOptions


def wanted_extractors(options: ExtractOptions) -> tuple[Extractor, ...]:
    """The extractors, with their weights found but nothing loaded.

    Raises:
        UsageError: a GPU is to decode, and the cluster has none, or see ``registry.build`` and
            ``running.computing.choose``.
    """
    device, had = load_profile(options.cluster).device, _computed_by(options.store)
    if options.decoder == NVDEC and device == "cpu":
        raise UsageError("decoder nvdec: needs GPUs; set `device: cuda` in the cluster profile")
    built = registry.build(
        options.only,
        options.weights_of,
        options.weights,
        registry.read_parameters(options.parameters, options.instances),
        decoding={
            "strict": options.strict,
            "max_seconds": options.max_seconds,
            "decoder": options.decoder,
            "candidates": options.candidates,
        },
        instances=options.instances,
    )
    return tuple(
        one
        if one.computing is None
        else replace(
            one,
            computing=choose(options.backend, options.precision, device, had.get(one.spec.name)),
        )
        for one in built
    )


def wanted_utterances(options: ExtractOptions, known: Mapping[str, Known]) -> Intake:
    """The utterances of the data set or of the folder of clips; what is known is not read again.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    if options.clips is not None:
        return take_in_folder(options.clips, known=known)
    assert options.dataset is not None  # one of them is there
    return take_in(options.dataset, known=known, fixes=options.fixes)


class _KnownClips(Mapping[str, Known]):
    """Path → what the store has of it, made when somebody asks."""

    def __init__(self, table: ColumnTable, unchanged: NDArray[np.bool_]) -> None:
        names = ("name", "clip_sha", "clip_size", "clip_mtime_ns", "clip_seconds")
        self._columns = list(map(table.at, names))
        self._unchanged = unchanged
        order = np.argsort(table.at("active"), kind="stable")  # of one file, the active row counts
        paths = table.at("clip_path", order).tolist()
        self._rows = dict(zip(paths, order.tolist(), strict=True))

    def __getitem__(self, path: str) -> Known:
        row = self._rows[path]
        name, sha, size, mtime, seconds = (one[row : row + 1].tolist()[0] for one in self._columns)
        clip = Clip(path=path, sha256=bytes(sha), size=size, mtime_ns=mtime, seconds=seconds)
        return Known(name, clip if self._unchanged[row] else ABSENT)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def known_clips(store: str) -> Mapping[str, Known]:
    """Path → what the store has of it; no clip where another run found the file changed."""
    if (snapshot := _published(store)) is None:
        return {}
    table = snapshot.utterances
    with snapshot.reading():
        groups = map(snapshot.group, snapshot.extractors)
        reasons = [np.asarray(array_of(one, "reason")[:]) for one in groups]
    unchanged = np.logical_and.reduce(
        [table["active"] >= 0, *(r != Reason.CHANGED for r in reasons)]
    )
    return _KnownClips(table, unchanged)


def check_inputs(options: ExtractOptions) -> None:
    """Finds what is wrong with the inputs, without reading a clip or loading a network.

    Raises:
        UsageError: see the functions above.
    """
    if options.clips is not None:
        check_folder(options.clips)
    if options.dataset is not None:
        check_source(options.dataset)
    wanted_extractors(options)


def _computed_by(store: str) -> dict[str, Computing]:
    """Extractor → what the features in the store were computed with, as far as it says."""
    if (snapshot := _published(store)) is None:
        return {}
    found = {
        name: Computing.of(snapshot.attributes(name)["parameters"]) for name in snapshot.extractors
    }
    return {name: one for name, one in found.items() if one is not None}


def _published(store: str) -> Snapshot | None:
    """What was published in a store last; None before anything was."""
    snapshot = open_store(store) if location.exists(store) else None
    return None if snapshot is None or snapshot.is_empty else snapshot
