"""The extractors by name.

A new one is one file and one line here; other distributions add theirs through the
entry-point group ``meldflow.extractors`` (name = registry name, value = ``module:Class``).
Nothing is imported before it is asked for, and no extractor imports torch before ``setup``.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from importlib.metadata import entry_points
from typing import Any

from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.errors import UsageError
from meldflow.models.weights.find import NO_WEIGHTS, find

ENTRY_POINTS = "meldflow.extractors"

EXTRACTORS: dict[str, str] = {
    "audio/wav2vec2": "meldflow.models.extractors.wav2vec2.extractor:Wav2Vec2",
    "audio/librosa": "meldflow.models.extractors.librosa.extractor:Descriptors",
    "video/resnet50": "meldflow.models.extractors.resnet50.extractor:ResNet50",
    "text/minilm": "meldflow.models.extractors.minilm:MiniLM",
}


def names() -> tuple[str, ...]:
    """The names of all extractors, our own first."""
    return tuple(_known())


def build(
    only: Sequence[str] | None,
    weights: Mapping[str, str],
    default_weights: str = "pretrained",
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    decoding: Mapping[str, Any] | None = None,
) -> tuple[Extractor, ...]:
    """The extractors called ``only``, with their weights found but nothing loaded.

    Args:
        only: registry names; None or nothing means our own, all of them.
        weights: ``pretrained``, ``random`` or a path, by registry name.
        default_weights: the same for extractors that ``weights`` does not name.
        parameters: fields of extractors that differ from their defaults, by registry name.
        decoding: fields of ``DecodeOptions`` that differ from the defaults, for every
            extractor that decodes clips.

    Raises:
        UsageError: a name, parameter or checkpoint is not there or cannot be used.
    """
    known, parameters = _known(), parameters or {}
    for name in (*(only or ()), *weights, *parameters):
        if name not in known:
            raise UsageError(_unknown(name, tuple(known)))
    chosen = tuple(dict.fromkeys(only or EXTRACTORS))
    built = (
        _build(name, known[name], weights.get(name, default_weights), parameters.get(name, {}))
        for name in chosen
    )
    return tuple(_decoding(extractor, decoding or {}) for extractor in built)


def _known() -> dict[str, str]:
    others = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return EXTRACTORS | {name: target for name, target in others.items() if name not in EXTRACTORS}


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f", did you mean {near[0]!r}?" if near else ""
    return f"no extractor is called {name!r}{hint} Known: {', '.join(known)}"


def _build(name: str, target: str, wanted: str, parameters: Mapping[str, Any]) -> Extractor:
    module, _, attribute = target.partition(":")
    kind: type[Extractor] = getattr(importlib.import_module(module), attribute)
    allowed = {one.name for one in fields(kind)} - {"weights", "loaded", "computing"}
    for parameter in parameters:
        if parameter not in allowed:
            raise UsageError(_no_parameter(name, parameter, sorted(allowed)))
    weights = NO_WEIGHTS if kind.published is None else find(kind.published, wanted)
    try:
        extractor = kind(weights=weights, **parameters)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: {error}") from error
    if extractor.spec.name != name:
        raise UsageError(f"{target} calls itself {extractor.spec.name!r}, registered as {name!r}")
    return extractor


def _decoding(extractor: Extractor, changes: Mapping[str, Any]) -> Extractor:
    if extractor.decoding is None:
        return extractor
    return replace(extractor, decoding=replace(extractor.decoding, **changes))


def _no_parameter(name: str, parameter: str, allowed: list[str]) -> str:
    return f"{name} has no parameter {parameter!r}; it has: {', '.join(allowed) or 'none'}"
