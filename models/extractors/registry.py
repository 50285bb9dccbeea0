"""The extractors by name.

A new one is one file and one line here; other distributions add theirs through the
entry-point group ``meldflow.extractors`` (name = registry name, value = ``module:Class``).
Instances of families are there by name as well: those of ``presets``, and whatever a run declares.
Nothing is imported before it is asked for, and no extractor imports torch before ``setup``.
One that cannot be imported or used costs a line, and no other extractor anything.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.entries import (
    EXTRACTORS,
    Entry,
    families,
    known,
    named,
    warn,
)
from meldflow.models.extractors.parameters import Parameter
from meldflow.models.extractors.presets import KINDS
from meldflow.models.schema.errors import UsageError

T = TypeVar("T")


def names() -> tuple[str, ...]:
    """The names of all extractors, our own first."""
    return tuple(known())


def packages(extractors: Collection[str]) -> tuple[str, ...]:
    """The distributions that these come from, but ours, and those which they require."""
    wanted: dict[str, None] = {}
    for entry in map(known().get, extractors):
        distribution = entry.distribution if entry else None
        if distribution is not None:
            required = (one for one in distribution.requires or () if "extra ==" not in one)
            named = (re.split(r"[^\w.-]", one, maxsplit=1)[0] for one in required)
            wanted |= dict.fromkeys((distribution.name, *named))
    return tuple(wanted)


def build(
    only: Sequence[str] | None,
    weights: Mapping[str, str],
    default_weights: str = "pretrained",
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    decoding: Mapping[str, Any] | None = None,
    instances: Mapping[str, str] | None = None,
) -> tuple[Extractor, ...]:
    """The extractors called ``only``, with their weights found but nothing loaded.

    Args:
        only: registry names; None or nothing means what ``instances`` names, or else our own.
        weights: ``pretrained``, ``random`` or a path, by registry name.
        default_weights: the same for extractors that ``weights`` does not name.
        parameters: fields of extractors that differ from their defaults, by registry name.
        decoding: fields of ``DecodeOptions`` that differ from the defaults, for every
            extractor that decodes clips.
        instances: name → family and checkpoint, see ``known``.

    Raises:
        UsageError: a name, parameter or checkpoint is not there or cannot be used.
    """
    entries, parameters = known(instances), parameters or {}
    for name in (*(only or ()), *weights, *parameters):
        named(name, entries)
    built = (
        entries[name].build(weights.get(name, default_weights), parameters.get(name, {}))
        for name in dict.fromkeys(only or instances or EXTRACTORS)
    )
    return tuple(
        replace(one, decoding=replace(one.decoding, **(decoding or {}))) if one.decoding else one
        for one in built
    )


def usable(weights: str) -> tuple[Extractor, ...]:
    """Every extractor that can be built and is no instance; each other costs a line."""
    own = [entry for entry in known().values() if entry.instance is None]
    return _each(own, lambda entry: entry.build(weights, {}))


def catalogue() -> tuple[tuple[Entry, tuple[Parameter, ...]], ...]:
    """Extractors and families, and what can be set on them; one that is of no use costs a line."""
    own = [entry for entry in known().values() if entry.instance is None]
    return _each([*own, *families()], lambda one: (one, tuple(one.parameters().values())))


def _each(entries: Iterable[Entry], make: Callable[[Entry], T]) -> tuple[T, ...]:
    found = []
    for entry in entries:
        try:
            found.append(make(entry))
        except UsageError as error:
            if entry.name in EXTRACTORS:
                raise
            warn(str(error))
    return tuple(found)


def declared(name: str, described: Mapping[str, Any]) -> dict[str, Any]:
    """An extractor of a store as a file of extractors declares it, so that it can be had again.

    Args:
        name: its own.
        described: what the store says of it.
    """
    parameters, weights = dict(described["parameters"]), described["weights"]
    kind, entries = str(parameters.get("kind", "")), known()
    said = {"kind": kind, "checkpoint": weights.get("model", "")} if kind else {}
    if weights["kind"] == "random":
        said |= {"weights": "random"}
    entry = Entry(name=name, target=KINDS[kind]) if kind in KINDS else entries.get(name)
    return said | (entry.parted(parameters)[0] if entry else parameters)


def read_parameters(
    typed: Mapping[str, str], instances: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Values of parameters, from how a user types them.

    Args:
        typed: ``NAME.PARAMETER`` → value; of several there are commas between.
        instances: see ``known``.

    Returns:
        For ``build``: registry name → parameter → value.

    Raises:
        UsageError: there is no such extractor or parameter, or it cannot have that value.
    """
    entries = known(instances)
    found: dict[str, dict[str, Any]] = {}
    for path, value in typed.items():
        name, _, parameter = path.rpartition(".")
        entry = named(name or parameter, entries)
        if not name:
            raise UsageError(f"{path}: which parameter of it? {entry.settable}")
        found.setdefault(name, {})[parameter] = entry.value(parameter, value)
    return found
