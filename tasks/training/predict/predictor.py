"""A trained model with its own extractors, built again from what the model keeps of them.

Features of other weights, parameters or versions are other numbers, which the model would answer
for without a word; so a key that differs from the model's is an error.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from meldflow.models.extractors import registry
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.entries import known, named
from meldflow.models.judging.protocols import PROTOCOLS
from meldflow.models.judging.table import FeatureTable, extractor_of
from meldflow.models.running.computing import Computing
from meldflow.models.schema.errors import RunError, UsageError
from meldflow.models.schema.media import Missing, Modality
from meldflow.models.schema.utterances import TARGETS, Target
from meldflow.models.training.saved import DAMAGE, SavedModel, damaged, load_model
from meldflow.tasks.pages.templates import template
from meldflow.tasks.training.predict.features import Say, extract, table_of
from meldflow.tasks.training.predict.records import Given, Prediction, check_given, listed, why


def rebuilt(
    name: str, key: str, weights: str, parameters: Mapping[str, Any], checkpoint: str = ""
) -> Extractor:
    """The extractor as it was in training; ``checkpoint`` is that of an instance.

    Raises:
        UsageError: it cannot be had.
    """
    kind = parameters.get("kind")
    instances = {name: f"{kind} {checkpoint}"} if kind and checkpoint else {}
    if weights == "folder" and not instances:
        raise UsageError(
            f"{name}: the model was trained with weights of your own, revision "
            f"{key.rpartition('+')[2]}; name them: --weights {name}=PATH"
        )
    # Of one without weights it looks for none, and an instance's folder is its checkpoint.
    weights = "pretrained" if weights in ("none", "folder") else weights
    own, decoding = named(name, known(instances)).parted(parameters)
    (built,) = registry.build([name], {}, weights, {name: own}, decoding, instances)
    computing = Computing.of(parameters)
    if computing is not None:
        if why := computing.refusal("cpu"):
            raise UsageError(f"{name}: the model's features were computed by {computing}: {why}")
        built = replace(built, computing=computing)
    if built.spec.key != key:
        raise UsageError(_differs(name, key, built.spec.key))
    return built


def _differs(name: str, trained: str, here: str) -> str:
    """Why a key is not the model's, and what to do about it."""
    line = f"{name}: the model was trained on {trained}, here it would be {here}"
    if trained.rpartition("+")[0] == here.rpartition("+")[0]:
        return f"{line}, with other weights; name the right ones: --weights {name}=PATH"
    return (
        f"{line}, another version or other parameters of the extractor; extract and train anew, "
        "or use the release of meldflow that the model was trained with"
    )


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

    @property
    def _modalities(self) -> set[Modality]:
        """What the extractors read."""
        return {one.spec.modality for one in self.extractors}

    def predict(self, given: Given, say: Say = lambda words: None) -> Prediction:
        """Classifies one utterance; ``say`` is told what is going on.

        Raises:
            UsageError: there is no such clip, or nothing was given that the model reads.
            RunError: nothing of the clip can be used; the message says why.
        """
        check_given(given)
        self._check_usable(given)
        records = dict(extract(given, self.extractors, self.ready, say))
        missing = {name: one for name, one in records.items() if isinstance(one, Missing)}
        if len(missing) == len(records):
            reasons = "; ".join(f"{name} {why(one)}" for name, one in missing.items())
            raise RunError(f"nothing to classify: {reasons}")
        say("classifying")
        table = table_of(given, records, self.extractors, self.arrays, self.target)
        by = self._probabilities(table)
        winner = by[self.model.winner]
        return Prediction(
            clip="" if given.clip is None else os.fspath(given.clip),
            text=given.text,
            label=max(winner, key=winner.__getitem__),
            classifier=self.model.winner,
            by=by,
            missing=missing,
            model=os.fspath(self.folder),
            notes=self._notes(given, missing),
        )

    def _notes(self, given: Given, missing: Mapping[str, Missing]) -> tuple[str, ...]:
        """What a reader has to know before trusting a prediction."""
        described = self.model.described
        wanted = {extractor_of(path) for paths in self.arrays.values() for path in paths}
        told = template("training/predict/notes.txt.j2").render(
            described=described,
            given=given,
            missing=missing,
            protocol=PROTOCOLS.get(str(described.get("protocol", ""))),
            random=sorted(name for name, kind in described["weights"].items() if kind == "random"),
            untrained=sorted(wanted - {one.spec.name for one in self.extractors}),
            looks=not self._modalities <= {Modality.TEXT},
            reads=Modality.TEXT in self._modalities,
            listed=listed,
            why=why,
        )
        return tuple(" ".join(note.split()) for note in told.split("\n\n") if note.strip())

    def _check_usable(self, given: Given) -> None:
        """Refuses what the model reads nothing of (``UsageError``)."""
        looks, reads = not self._modalities <= {Modality.TEXT}, Modality.TEXT in self._modalities
        if (given.clip is not None and looks) or (given.text.strip() and reads):
            return
        wanted = "name a CLIP" if looks else "give its words with --text"
        modalities = listed([one.value for one in Modality if one in self._modalities])
        raise UsageError(f"the model in {self.folder} knows {modalities} alone: {wanted}")

    def _probabilities(self, table: FeatureTable) -> dict[str, dict[str, float]]:
        try:
            said = self.model.probabilities(table)
            return {
                name: dict(zip(self.model.classes, rows[0].tolist(), strict=True))
                for name, rows in said.items()
            }
        except DAMAGE as error:
            raise damaged(self.folder, error) from error


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
        checkpoints = dict(described.get("checkpoints", {}))
        if model.winner not in ("network", "svm"):
            raise ValueError(f"winner is {model.winner!r}")
    except DAMAGE as error:
        raise damaged(folder, error) from error
    for name in given:
        if name not in trained:
            raise UsageError(f"--weights: the model does not use {name}; it uses {listed(trained)}")
    extractors = tuple(
        rebuilt(
            name,
            keys[name],
            given.get(name) or weights or had[name],
            parameters[name],
            checkpoints.get(name, ""),
        )
        for name in trained
    )
    return Predictor(
        folder=folder, model=model, extractors=extractors, arrays=arrays, target=target
    )
