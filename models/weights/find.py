"""Where the weights of a network come from, and how to tell them from others.

``weights`` is ``pretrained``, ``random`` or a path. ``find`` runs in the flow's process,
before any work is handed out, and loads neither torch nor transformers; the extractors load
what it found. Nothing ever goes from ``pretrained`` to ``random`` by itself.
"""

import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open

from meldflow.models.files import digest
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import Weights
from meldflow.models.weights.shared import HOW, VARIABLE, find_shared
from meldflow.models.weights.sources import PLACES, PublishedModel

NO_WEIGHTS = Weights(kind="none", revision="none")
"""For extractors that have nothing to load."""

_SEED = 0
_SUFFIXES = (".pth", ".pt", ".safetensors", ".bin")


def find(source: PublishedModel, wanted: str, *, filling: bool = False) -> Weights:
    """The weights that ``wanted`` names for the model of ``source``.

    ``pretrained`` looks into the folder that ``MELDFLOW_WEIGHTS`` names; without one, into the
    installed package, the hub's cache and torch's cache, and downloads if they have nothing (not
    where ``HF_HUB_OFFLINE`` is set). The revision of weights from a file is the start of the
    SHA-256 of its bytes, so the same weights have the same key wherever they came from; that of
    random weights is their seed.

    Args:
        source: the model.
        wanted: ``pretrained``, ``random`` or the path of a checkpoint.
        filling: for that folder, in which it is then not looked for.

    Raises:
        UsageError: there are none, or they are damaged or of another architecture.
    """
    if wanted == "random":
        return Weights(kind="random", revision=f"random-{_SEED}", model=source.model)
    if wanted != "pretrained":
        return _described(source, "folder", _from_path(source, Path(wanted).expanduser()))
    folder = os.environ.get(VARIABLE)
    if folder and not filling:
        return _described(source, "pretrained", find_shared(source, Path(folder).absolute()))
    looked = []
    for place, look in PLACES.items():
        found, where = look(source)
        if found is not None:
            return _described(source, "pretrained", found)
        if where:
            looked.append(f"{place} ({where})")
    raise UsageError(
        f"no pretrained weights of {source.model}; looked in: {'; '.join(looked)}. "
        f"To have them here, {HOW}. "
        "weights=random runs the same network untrained: its features mean nothing."
    )


def check(weights: Weights) -> Path:
    """The weight file, after making sure that its bytes are still those that were found.

    A worker may see another disk than the flow that looked the weights up.

    Raises:
        UsageError: the file is not there or holds other bytes.
    """
    file = Path(weights.location)
    if not file.is_file():
        raise UsageError(f"{weights.model}: no weights at {file} on this machine; {HOW}")
    revision = _revision(file)
    if revision != weights.revision:
        raise UsageError(
            f"{weights.model}: {file} has revision {revision} here, expected {weights.revision}"
        )
    return file


def seed(weights: Weights) -> int | None:
    """The seed of random weights, None for weights from a file."""
    return int(weights.revision.rpartition("-")[2]) if weights.kind == "random" else None


def _described(source: PublishedModel, kind: str, file: Path) -> Weights:
    _check_config(source, file.parent)
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, framework="numpy"):  # reads the header, and the file's length
                pass
        except SafetensorError as error:
            raise UsageError(f"{source.model}: {file} is damaged: {error}") from error
    revision, digits, stored = _revision(file), digest(file), file.resolve()
    # The hub's cache calls a file by its digest.
    expected = source.digest or (stored.name if len(stored.name) == len(digits) else "")
    if kind == "pretrained" and not digits.startswith(expected):
        raise UsageError(f"{source.model}: {stored} is damaged, its SHA-256 starts {revision}")
    return Weights(kind=kind, revision=revision, location=str(file), model=source.model)


def _check_config(source: PublishedModel, folder: Path) -> None:
    for name in source.beside:
        if not (folder / name).is_file():
            raise UsageError(f"{source.model}: {folder} holds no {name}")
    if not source.architecture or "config.json" not in source.beside:
        return
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        found = {name: config.get(name) for name in source.architecture}
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{source.model}: {folder}/config.json is damaged: {error}") from error
    for name, expected in source.architecture.items():
        if found[name] != expected:
            raise UsageError(
                f"{source.model}: the checkpoint in {folder} has another architecture: "
                f"{name} is {found[name]!r}, expected {expected!r}"
            )


def _from_path(source: PublishedModel, path: Path) -> Path:
    if not path.exists():
        raise UsageError(
            f"{source.model}: weights={path} is no path that exists "
            "(give 'pretrained', 'random' or the path of a checkpoint)"
        )
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            raise UsageError(f"{source.model}: {path} is no weight file ({', '.join(_SUFFIXES)})")
        return path
    named = [path / name for name in source.files if (path / name).is_file()]
    loose = [one for one in sorted(path.iterdir()) if one.suffix in _SUFFIXES]
    if named:
        return named[0]
    if not source.beside and len(loose) == 1:
        return loose[0]
    raise UsageError(f"{source.model}: {path} holds none of {', '.join(source.files)}")


def _revision(file: Path) -> str:
    return digest(file)[:12]
