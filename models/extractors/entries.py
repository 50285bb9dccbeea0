"""What is registered as an extractor, whether or not it can be used."""

import difflib
import functools
import importlib
import inspect
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib.metadata import Distribution, entry_points
from typing import Any

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.encoder import Encoder
from meldflow.models.extractors.parameters import Parameter, parameters_of
from meldflow.models.extractors.presets import KINDS, PRESETS, Preset
from meldflow.models.schema.errors import UsageError
from meldflow.models.weights.find import NO_WEIGHTS, find
from meldflow.models.weights.sources import PublishedModel

ENTRY_POINTS = "meldflow.extractors"

EXTRACTORS: dict[str, str] = {
    "audio/wav2vec2": "meldflow.models.extractors.speech.extractor:Wav2Vec2",
    "audio/librosa": "meldflow.models.extractors.librosa.extractor:Descriptors",
    "video/resnet50": "meldflow.models.extractors.images.extractor:ResNet50",
    "text/minilm": "meldflow.models.extractors.text:MiniLM",
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
    instance: Preset | None = None
    """What it is an instance of; None for a class of its own."""

    def load(self) -> type[Extractor]:
        """Its class.

        Raises:
            UsageError: it cannot be imported, or is no class of extractors.
        """
        for one in self.others:
            warn(f"extractor {self.name} ({one}): the name is taken, by {self.origin}")
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

    def source(self) -> PublishedModel | None:
        """Where its weights are looked for; None where there is nothing to load."""
        kind = self.load()
        if self.instance is None or not issubclass(kind, Encoder):
            return kind.published
        return kind.source(self.instance.checkpoint, self.instance.architecture)

    def build(self, wanted: str, parameters: Mapping[str, Any]) -> Extractor:
        """The extractor, with its weights found but nothing loaded.

        Args:
            wanted: ``pretrained``, ``random`` or the path of a checkpoint.
            parameters: those that differ from its defaults.

        Raises:
            UsageError: it cannot be had so.
        """
        kind, source = self.load(), self.source()
        declared = self.instance.parameters if self.instance else {}
        given = {**declared, **parameters}
        values = {name: self.value(name, value) for name, value in given.items()}
        try:
            if self.instance is not None and source is not None and issubclass(kind, Encoder):
                return kind.of(self.name, source, wanted, values)
            weights = NO_WEIGHTS if source is None else find(source, wanted)
            extractor = kind(weights=weights, **values)
            name = extractor.spec.name
        except UsageError:
            raise
        except Exception as error:  # as in ``load``
            if values or self.instance is not None:
                raise UsageError(f"{self.name}: {error}. {self.settable}") from error
            raise self.refused(str(error)) from error
        if name != self.name:
            raise self.refused(f"it calls itself {name!r}")
        return extractor

    def value(self, name: str, given: Any) -> Any:
        """The value of a parameter, from what was typed or from a value.

        Raises:
            UsageError: there is no such parameter, or it may not be that.
        """
        parameters = self.parameters()
        if name not in parameters:
            raise UsageError(f"{self.name} has no parameter {name!r}. {self.settable}")
        try:
            return parameters[name].read(given)
        except ValueError as error:
            raise UsageError(f"{self.name}.{error}, not {given!r}. {self.settable}") from error

    def parted(self, parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of the parameters in a key those that can be set: its own, and those of decoding."""
        own, decoding = self.parameters(), [one.name for one in fields(DecodeOptions)]
        return (
            {one: value for one, value in parameters.items() if one in own},
            {one: parameters[one] for one in decoding if one in parameters.keys() - own.keys()},
        )

    @property
    def settable(self) -> str:
        """What can be set on it, for people."""
        some = ", ".join(one.brief for one in self.parameters().values())
        return f"{self.name} has: {some or 'none'}"

    @property
    def presets(self) -> dict[str, str]:
        """Of a family: the extractors that are there by name, and their checkpoints."""
        return {name: one.checkpoint for name, one in PRESETS.items() if one.kind == self.name}

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
            "presets": self.presets,
            "parameters": [
                {name: getattr(one, name) for name in shown} for one in self.parameters().values()
            ],
        }

    def refused(self, why: str) -> UsageError:
        """That it cannot be used."""
        said = " ".join(why.split())
        return UsageError(f"extractor {self.name} ({self.target} of {self.origin}): {said}")


def known(instances: Mapping[str, str] | None = None) -> dict[str, Entry]:
    """The extractors by name.

    Args:
        instances: name → family and checkpoint with a blank between, of those that a run
            declares; nothing for an extractor that is known.

    Raises:
        UsageError: an instance has no name or family that could be, or a name that is taken.
    """
    found = {name: Entry(name=name, target=target) for name, target in EXTRACTORS.items()}
    for point in entry_points(group=ENTRY_POINTS):
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else "nobody knows where"
        entry = Entry(name=point.name, target=point.value, origin=origin, distribution=point.dist)
        first = found.setdefault(point.name, entry)
        if first.target != point.value:
            others = (*first.others, f"{point.value} of {origin}")
            found[point.name] = replace(first, others=others)
    for name, preset in PRESETS.items():
        found.setdefault(name, Entry(name=name, target=KINDS[preset.kind], instance=preset))
    for name, said in (instances or {}).items():
        if name != said:
            found[name] = _declared(name, said, found)
    return found


def families() -> tuple[Entry, ...]:
    """What instances are declared of, as if each were an extractor."""
    return tuple(Entry(name=kind, target=target, origin="a kind") for kind, target in KINDS.items())


def _declared(name: str, said: str, found: Mapping[str, Entry]) -> Entry:
    """An instance that a run declares; a preset's name may stand for another checkpoint."""
    kind, _, checkpoint = said.partition(" ")
    if kind not in KINDS or not checkpoint:
        raise UsageError(
            f"extractor {name}: give a kind ({', '.join(KINDS)}) and a checkpoint, a name on the "
            f"hub or a folder; not {said!r}"
        )
    if not re.fullmatch(rf"{kind.partition('/')[0]}/\w[\w.-]*", name):
        raise UsageError(f"extractor {name}: a {kind} is called {kind.partition('/')[0]}/SOMETHING")
    if name in found and found[name].instance is None:
        raise UsageError(f"extractor {name}: the name is taken, by {found[name].origin}")
    instance = Preset(kind, checkpoint)
    return Entry(name=name, target=KINDS[kind], origin="declared", instance=instance)


@functools.cache
def warn(line: str) -> None:
    """Once."""
    logging.getLogger("meldflow").warning("%s", line)


def named(name: str, entries: Mapping[str, Entry] | None = None) -> Entry:
    """The extractor of that name.

    Raises:
        UsageError: there is none.
    """
    entries = known() if entries is None else entries
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=1, cutoff=0.4)
    hint = f", did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"no extractor is called {name!r}{hint} Known: {', '.join(entries)}")
