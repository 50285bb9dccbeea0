"""One clip and its words, classified by a trained model.

The model's own extractors are built again from what the model keeps of them, with the weights
that they had. Features of other weights, parameters or versions are other numbers, which the
model would answer for without a word; so a key that differs from the model's is an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors import registry
from meldflow.models.extractors.contract import Extractor
from meldflow.models.judging.table import SEGMENTS, FeatureTable, extractor_of, segments
from meldflow.models.judging.target import TARGETS, Target
from meldflow.models.networks.saved import DAMAGE, SavedModel, damaged, load_model
from meldflow.models.running.computing import Computing
from meldflow.models.schema.errors import RunError, UsageError
from meldflow.models.schema.features import ArraySpec, Record
from meldflow.models.schema.media import Media, Missing, Modality, Reason
from meldflow.tasks.inspection.inspect import size_of
from meldflow.tasks.isolated.decoder import Decoder

Say = Callable[[str], None]
"""Told what is going on, for whoever waits."""

_NO_CLIP = Missing(reason=Reason.MISSING_FILE, message="no clip was given")
_NO_TEXT = Missing(reason=Reason.NO_TEXT, message="no text was given")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says of one utterance."""

    clip: str
    """Path of the clip; empty where there was none."""
    text: str
    label: str
    """The likeliest class by the chosen classifier."""
    classifier: str
    """The classifier that dev chose in training: ``network`` or ``svm``."""
    by: Mapping[str, Mapping[str, float]]
    """Classifier → class → probability, within [0, 1]."""
    missing: Mapping[str, Missing]
    """Extractor → why it gave nothing."""
    model: str
    """Folder of the model."""
    notes: tuple[str, ...]
    """What a reader has to know before trusting it."""

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Class → probability by the chosen classifier."""
        return self.by[self.classifier]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "clip": self.clip,
            "text": self.text,
            "label": self.label,
            "probabilities": dict(self.probabilities),
            "classifier": self.classifier,
            "by": {name: dict(one) for name, one in self.by.items()},
            "missing": {
                name: {"reason": one.reason.value, "message": one.message}
                for name, one in self.missing.items()
            },
            "model": self.model,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An utterance to classify."""

    clip: Path | None = None
    text: str = ""
    speaker: str = ""
    """Who says it; a model with context fusion knows the frequent speakers by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A trained model with the extractors that it was trained with."""

    folder: Path
    model: SavedModel
    extractors: tuple[Extractor, ...]
    """Those whose features it was trained on, not set up."""
    arrays: Mapping[str, tuple[str, ...]]
    """Modality → the arrays that it reads, as ``extractor/array``."""
    target: Target
    ready: dict[str, Extractor] = field(default_factory=dict)
    """Extractors that were set up, by name: their weights load once."""

    def reads(self, *modalities: Modality) -> bool:
        """Whether it was trained on one of the modalities."""
        return any(one.spec.modality in modalities for one in self.extractors)

    def predict(self, given: Given, say: Say = lambda words: None) -> Prediction:
        """Classifies one utterance.

        Args:
            given: the clip and the words; what is not there is missing.
            say: told what is going on.

        Raises:
            UsageError: there is no such clip, or nothing was given that the model reads.
            RunError: nothing of the clip can be used; the message says why.
        """
        check_given(given)
        _check_usable(self, given)
        records = dict(_records(self, given, say))
        missing = {name: one for name, one in records.items() if isinstance(one, Missing)}
        if len(missing) == len(records):
            why = "; ".join(f"{name} {_why(one)}" for name, one in missing.items())
            raise RunError(f"nothing to classify: {why}")
        say("classifying")
        by = self._probabilities(_table(self, given, records))
        winner = by[self.model.winner]
        return Prediction(
            clip="" if given.clip is None else os.fspath(given.clip),
            text=given.text,
            label=max(winner, key=winner.__getitem__),
            classifier=self.model.winner,
            by=by,
            missing=missing,
            model=os.fspath(self.folder),
            notes=tuple(_notes(self, given, missing)),
        )

    def _probabilities(self, table: FeatureTable) -> dict[str, dict[str, float]]:
        try:
            said = self.model.probabilities(table)
            return {
                name: dict(zip(self.model.classes, rows[0].tolist(), strict=True))
                for name, rows in said.items()
            }
        except DAMAGE as error:
            raise damaged(self.folder, error) from error


def check_given(given: Given) -> None:
    """Finds what is wrong with an utterance, without reading a byte of it.

    Raises:
        UsageError: there is no such clip, or neither clip nor words.
    """
    if given.clip is None and not given.text.strip():
        raise UsageError("nothing to classify: name a CLIP, or give its words with --text")
    if given.clip is not None:
        size_of(given.clip)


def load_predictor(
    folder: Path, weights: str = "", weights_of: Mapping[str, str] | None = None
) -> Predictor:
    """The model in ``folder`` and its extractors, with their weights found but not loaded.

    Args:
        folder: report folder of a training run, or the folder ``model`` in it.
        weights: ``pretrained``, ``random`` or a path, for all extractors; "" for the kind that
            each of them had in training.
        weights_of: the same by extractor, where it differs.

    Raises:
        UsageError: there is no model or a damaged one, an extractor's weights are not there, or
            an extractor would give other features than those that the model was trained on.
    """
    model = load_model(folder)
    given, described = weights_of or {}, model.described
    try:
        keys, target = dict(described["keys"]), TARGETS[described["target"]]
        arrays = {name: tuple(paths) for name, paths in described["arrays"].items()}
        used = list(dict.fromkeys(extractor_of(one) for some in arrays.values() for one in some))
        trained = [name for name in used if name in keys]
        had = {name: str(described["weights"][name]) for name in trained}
        parameters = {name: dict(described.get("extractors", {}).get(name, {})) for name in trained}
        if model.winner not in ("network", "svm"):
            raise ValueError(f"winner is {model.winner!r}")
    except DAMAGE as error:
        raise damaged(folder, error) from error
    for name in given:
        if name not in trained:
            raise UsageError(f"--weights: the model does not use {name}; it uses {_list(trained)}")
    extractors = tuple(
        _rebuilt(name, keys[name], given.get(name) or weights or had[name], parameters[name])
        for name in trained
    )
    return Predictor(
        folder=folder, model=model, extractors=extractors, arrays=arrays, target=target
    )


def _rebuilt(name: str, key: str, weights: str, parameters: Mapping[str, Any]) -> Extractor:
    """The extractor as it was in training.

    Raises:
        UsageError: it cannot be had.
    """
    if weights == "folder":
        raise UsageError(
            f"{name}: the model was trained with weights of your own, revision "
            f"{key.rpartition('+')[2]}; name them: --weights {name}=PATH"
        )
    weights = "pretrained" if weights == "none" else weights  # which it then does not look for
    own, decoding = _settable(name, parameters)
    (built,) = registry.build([name], {}, weights, {name: own}, decoding)
    computing = Computing.of(parameters)
    if computing is not None:
        if why := computing.refusal("cpu"):
            raise UsageError(f"{name}: the model's features were computed by {computing}: {why}")
        built = replace(built, computing=computing)
    if built.spec.key != key:
        raise UsageError(_differs(name, key, built.spec.key))
    return built


def _settable(name: str, parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the parameters in a key those that can be set: on the extractor, and for decoding."""
    (plain,) = registry.build([name], {}, "random")
    own = {one.name for one in fields(plain)} - {"weights", "loaded", "decoding", "computing"}
    shared = {one.name for one in fields(DecodeOptions)} - {"version"}
    as_given = {
        one: tuple(value) if isinstance(value, list) else value for one, value in parameters.items()
    }
    return (
        {one: value for one, value in as_given.items() if one in own},
        {one: value for one, value in as_given.items() if one in shared - own},
    )


def _differs(name: str, trained: str, here: str) -> str:
    """Why a key is not the model's, and what to do about it."""
    line = f"{name}: the model was trained on {trained}, here it would be {here}"
    if trained.rpartition("+")[0] == here.rpartition("+")[0]:
        return f"{line}, with other weights; name the right ones: --weights {name}=PATH"
    return (
        f"{line}, another version or other parameters of the extractor; extract and train anew, "
        "or use the release of meldflow that the model was trained with"
    )


def _check_usable(predictor: Predictor, given: Given) -> None:
    """Whether the model reads anything of what was given.

    Raises:
        UsageError: it does not.
    """
    hears, reads = predictor.reads(Modality.AUDIO, Modality.VIDEO), predictor.reads(Modality.TEXT)
    if (given.clip is not None and hears) or (given.text.strip() and reads):
        return
    wanted = "name a CLIP" if hears else "give its words with --text"
    modalities = _list([one.value for one in Modality if predictor.reads(one)])
    raise UsageError(f"the model in {predictor.folder} knows {modalities} alone: {wanted}")


def _records(predictor: Predictor, given: Given, say: Say) -> Iterator[tuple[str, Record]]:
    """What every extractor of the model gives; clips are decoded once per set of options."""
    sharing: dict[DecodeOptions | None, list[Extractor]] = {}
    for one in predictor.extractors:
        sharing.setdefault(one.decoding, []).append(one)
    for options, extractors in sharing.items():
        media = _media(given, options, {one.spec.modality for one in extractors}, say)
        for one in extractors:
            yield one.spec.name, _extracted(predictor, one, media, say)


def _media(
    given: Given, options: DecodeOptions | None, modalities: set[Modality], say: Say
) -> Media:
    """What there is of an utterance; only ``modalities`` are decoded, in a child process."""
    text = given.text if given.text.strip() else _NO_TEXT
    if options is None or given.clip is None:
        return Media(audio=_NO_CLIP, video=_NO_CLIP, text=text)
    say("reading the clip")
    with Decoder() as decoder:
        decoded = decoder.decode(
            os.fspath(given.clip),
            options,
            audio=Modality.AUDIO in modalities,
            video=Modality.VIDEO in modalities,
        )
    return Media(audio=decoded.audio, video=decoded.video, text=text)


def _extracted(predictor: Predictor, extractor: Extractor, media: Media, say: Say) -> Record:
    name = extractor.spec.name
    absent = getattr(media, extractor.spec.modality.value)
    if isinstance(absent, Missing):
        return absent  # and its weights need not be loaded
    if name not in predictor.ready:
        say(f"loading {name}")
        predictor.ready[name] = extractor.setup("cpu")
    say(f"running {name}")
    try:
        (record,) = predictor.ready[name].extract([media])
    except Exception as error:  # an extraction, too, notes it as the clip's
        return Missing(reason=Reason.CRASHED, message=f"{type(error).__name__}: {error}")
    return record


def _table(predictor: Predictor, given: Given, records: Mapping[str, Record]) -> FeatureTable:
    """The utterance as a table of one row, a dialogue of its own."""
    specs = {one.spec.name: one.spec for one in predictor.extractors}
    features = {
        path: _row(records[name], specs[name].array(path.removeprefix(f"{name}/")))
        for paths in predictor.arrays.values()
        for path in paths
        if (name := extractor_of(path)) in specs
    }
    described = predictor.model.described
    return FeatureTable(
        snapshot=str(described.get("snapshot", "")),
        store=str(described.get("store", "")),
        keys={name: spec.key for name, spec in specs.items()},
        weights={name: spec.weights.kind for name, spec in specs.items()},
        split=np.array(["test"]),
        dialogue=np.zeros(1, np.int64),
        utterance=np.zeros(1, np.int64),
        speaker=np.array([given.speaker]),
        text=np.array([given.text]),
        label=np.array([""]),
        features=features,
        columns={
            path: specs[name].array(path.removeprefix(f"{name}/")).columns
            for path in features
            if (name := extractor_of(path)) in specs
        },
        arrays=predictor.arrays,
        target=predictor.target,
    )


def _row(record: Record, spec: ArraySpec) -> NDArray[Any]:
    """One array as a table holds it, first axis 1: frames as segments, NaN where missing."""
    if isinstance(record, Missing):
        shape = spec.shape if spec.rate is None else (SEGMENTS, *spec.shape)
        return np.full((1, *shape), np.nan, dtype=np.float32)
    values = record[spec.name]
    return values[None] if spec.rate is None else segments(values)[None]


def _notes(predictor: Predictor, given: Given, missing: Mapping[str, Missing]) -> Iterator[str]:
    described = predictor.model.described
    random = [name for name, kind in described["weights"].items() if kind == "random"]
    if random:
        yield (
            f"Random weights: {_list(sorted(random))}. These features come from networks that "
            "have learned nothing."
        )
    yield from _about_protocol(str(described.get("protocol", "")))
    for name, one in missing.items():
        yield f"Without {name}: {_why(one)}."
    if untrained := sorted(
        _all_extractors(predictor) - {e.spec.name for e in predictor.extractors}
    ):
        yield f"The model was trained without {_list(untrained)}: its store had no such features."
    if given.clip is not None and not predictor.reads(Modality.AUDIO, Modality.VIDEO):
        yield "The clip was not looked at: the model knows text alone."
    if given.text.strip() and not predictor.reads(Modality.TEXT):
        yield "The text was not read: the model knows sound and pictures alone."
    yield from _about_context(described, given)


def _about_protocol(name: str) -> Iterator[str]:
    from meldflow.models.judging.protocols import PROTOCOLS

    protocol = PROTOCOLS.get(name)
    if protocol is not None and protocol.wrong:
        yield f"The model was trained under {name}. {protocol.wrong}"


def _about_context(described: Mapping[str, Any], given: Given) -> Iterator[str]:
    if described["architecture"] != "fusion":
        if given.speaker:
            yield "The speaker makes no difference: this network does not know speakers."
        return
    yield (
        "The model was trained to see the dialogue around an utterance; here it was given this "
        "one alone."
    )
    known = described["speakers"]
    if given.speaker and given.speaker not in known:
        names = _list(known) if known else "nobody"
        yield f"The model does not know {given.speaker} by name; it knows {names}."


def _all_extractors(predictor: Predictor) -> set[str]:
    return {extractor_of(path) for paths in predictor.arrays.values() for path in paths}


def _why(missing: Missing) -> str:
    return f"{missing.reason} ({missing.message})" if missing.message else str(missing.reason)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
