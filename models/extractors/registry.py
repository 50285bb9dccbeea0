"""The extractors by name.

A new one is one file and one line here; other distributions add theirs through the
entry-point group ``meldflow.extractors`` (name = registry name, value = ``module:Class``).
Nothing is imported before it is asked for, and no extractor imports torch before ``setup``.
One that cannot be imported or used costs a line, and no other extractor anything.
"""

import difflib
import functools
import importlib
import inspect
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, entry_points
from typing import Any, TypeVar

from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.parameters import Parameter, parameters_of
from meldflow.models.schema.errors import UsageError
from meldflow.models.weights.find import NO_WEIGHTS, find

T = TypeVar("T")

ENTRY_POINTS = "meldflow.extractors"

EXTRACTORS: dict[str, str] = {
    "audio/wav2vec2": "meldflow.models.extractors.wav2vec2.extractor:Wav2Vec2",
    "audio/librosa": "meldflow.models.extractors.librosa.extractor:Descriptors",
    "video/resnet50": "meldflow.models.extractors.resnet50.extractor:ResNet50",
    "text/minilm": "meldflow.models.extractors.minilm:MiniLM",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An extractor that is registered, which may not be of any use."""

    name: str
    target: str
    """``module:Class``."""
    origin: str = "meldflow"
    """The distribution that it comes from."""
    distribution: Distribution | None = None
    """The same; None for ours."""
    others: tuple[str, ...] = ()
    """What else wants the name, in vain."""

    def load(self) -> type[Extractor]:
        """Its class.

        Raises:
            UsageError: it cannot be imported, or is no class of extractors.
        """
        for one in self.others:
            _warn(f"extractor {self.name} ({one}): the name is taken, by {self.origin}")
        module, _, attribute = self.target.partition(":")
        try:
            kind = getattr(importlib.import_module(module), attribute)
            usable = issubclass(kind, Extractor) and not inspect.isabstract(kind)
        except Exception as error:  # somebody else's code: whatever it raises is the answer
            raise self.refused(f"{type(error).__name__}: {error}") from error
        if not usable:
            raise self.refused("it is no class of meldflow.models.extractors.contract.Extractor")
        found: type[Extractor] = kind
        return found

    def parameters(self) -> dict[str, Parameter]:
        """What can be set on it.

        Raises:
            UsageError: see ``load``; or nobody can tell.
        """
        kind = self.load()
        try:
            return parameters_of(kind)
        except Exception as error:  # annotations of somebody else's may name anything
            raise self.refused(f"its parameters: {error}") from error

    @property
    def summary(self) -> str:
        """The first sentence of its class's docstring."""
        return " ".join((inspect.getdoc(self.load()) or "").partition("\n\n")[0].split())

    def to_json(self) -> dict[str, Any]:
        """Name, origin, summary and parameters, as JSON values."""
        shown = ("name", "default", "allowed", "help")
        return {
            "name": self.name,
            "origin": self.origin,
            "summary": self.summary,
            "parameters": [
                {name: getattr(one, name) for name in shown} for one in self.parameters().values()
            ],
        }

    def refused(self, why: str) -> UsageError:
        """That it cannot be used."""
        said = " ".join(why.split())
        return UsageError(f"extractor {self.name} ({self.target} of {self.origin}): {said}")


def names() -> tuple[str, ...]:
    """The names of all extractors, our own first."""
    return tuple(_known())


def packages(extractors: Collection[str]) -> tuple[str, ...]:
    """The distributions that these come from, but ours, and those which they require."""
    wanted: dict[str, None] = {}
    for name in extractors:
        distribution = _known()[name].distribution
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
        named(name, known)
    built = (
        _build(known[name], weights.get(name, default_weights), parameters.get(name, {}))
        for name in dict.fromkeys(only or EXTRACTORS)
    )
    return tuple(
        replace(one, decoding=replace(one.decoding, **(decoding or {}))) if one.decoding else one
        for one in built
    )


def usable(weights: str) -> tuple[Extractor, ...]:
    """Every extractor that can be built; each of the others costs a line."""
    return _each(lambda entry: _build(entry, weights, {}))


def catalogue() -> tuple[tuple[Entry, tuple[Parameter, ...]], ...]:
    """Every extractor and what can be set on it; each that is of no use costs a line."""
    return _each(lambda entry: (entry, tuple(entry.parameters().values())))


def _each(make: Callable[[Entry], T]) -> tuple[T, ...]:
    found = []
    for name, entry in _known().items():
        try:
            found.append(make(entry))
        except UsageError as error:
            if name in EXTRACTORS:
                raise
            _warn(str(error))
    return tuple(found)


def read_parameters(typed: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Values of parameters, from how a user types them.

    Args:
        typed: ``NAME.PARAMETER`` → value; of several there are commas between.

    Returns:
        For ``build``: registry name → parameter → value.

    Raises:
        UsageError: there is no such extractor or parameter, or it cannot have that value.
    """
    known = _known()
    found: dict[str, dict[str, Any]] = {}
    for path, value in typed.items():
        name, _, parameter = path.rpartition(".")
        entry = named(name or parameter, known)
        if not name:
            raise UsageError(f"{path}: which parameter of it? {_settable(entry)}")
        found.setdefault(name, {})[parameter] = _value(entry, parameter, value)
    return found


def _known() -> dict[str, Entry]:
    known = {name: Entry(name=name, target=target) for name, target in EXTRACTORS.items()}
    for point in entry_points(group=ENTRY_POINTS):
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else "nobody knows where"
        entry = Entry(name=point.name, target=point.value, origin=origin, distribution=point.dist)
        first = known.setdefault(point.name, entry)
        if first.target != point.value:
            others = (*first.others, f"{point.value} of {origin}")
            known[point.name] = replace(first, others=others)
    return known


@functools.cache
def _warn(line: str) -> None:
    """Once."""
    logging.getLogger("meldflow").warning("%s", line)


def named(name: str, known: Mapping[str, Entry] | None = None) -> Entry:
    """The extractor of that name.

    Raises:
        UsageError: there is none.
    """
    known = _known() if known is None else known
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f", did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"no extractor is called {name!r}{hint} Known: {', '.join(known)}")


def _settable(entry: Entry) -> str:
    some = ", ".join(one.brief for one in entry.parameters().values())
    return f"{entry.name} has: {some or 'none'}"


def _value(entry: Entry, name: str, given: Any) -> Any:
    parameters = entry.parameters()
    if name not in parameters:
        raise UsageError(f"{entry.name} has no parameter {name!r}. {_settable(entry)}")
    try:
        return parameters[name].read(given)
    except ValueError as error:
        raise UsageError(f"{entry.name}.{error}, not {given!r}. {_settable(entry)}") from error


def _build(entry: Entry, wanted: str, parameters: Mapping[str, Any]) -> Extractor:
    kind = entry.load()
    values = {name: _value(entry, name, value) for name, value in parameters.items()}
    weights = NO_WEIGHTS if kind.published is None else find(kind.published, wanted)
    try:
        extractor = kind(weights=weights, **values)
        name = extractor.spec.name
    except Exception as error:  # as in ``Entry.load``
        if values:
            raise UsageError(f"{entry.name}: {error}. {_settable(entry)}") from error
        raise entry.refused(str(error)) from error
    if name != entry.name:
        raise entry.refused(f"it calls itself {name!r}")
    return extractor
