"""What a reader has to know before trusting a result: one small function per worry."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meldflow.models.judging.protocols import Division, Protocol
from meldflow.models.judging.records import Judgement
from meldflow.models.judging.table import FeatureTable, extractor_of
from meldflow.models.schema.features import STALE
from meldflow.models.training.result import Caution

FEW_ROWS = 200
"""Below this many test rows the 95 % interval of a weighted F1 is about 0.14 wide or more."""
MANY_REPEATED = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the worries look at."""

    table: FeatureTable
    protocol: Protocol
    division: Division
    judged: Mapping[str, Judgement]
    winner: str


def cautions(situation: Situation) -> tuple[Caution, ...]:
    """Every caution that applies, the gravest first."""
    return tuple(
        Caution(kind=kind, message=message)
        for kind, worry in WORRIES.items()
        for message in worry(situation)
    )


def repeated_texts(table: FeatureTable, division: Division) -> int:
    """Judged utterances whose text also occurs, word for word, among the fit rows."""
    known = set(table.text[division.fit].tolist())
    return sum(text in known for text in table.text[division.judge].tolist())


def _random_weights(situation: Situation) -> Iterator[str]:
    random = [name for name, kind in situation.table.weights.items() if kind == "random"]
    if random:
        yield (
            f"Random weights: {', '.join(sorted(random))}. These features come from networks "
            "that have learned nothing, so the scores show that the pipeline works, not how "
            "well emotions can be recognised."
        )


def _unlabelled(situation: Situation) -> Iterator[str]:
    if unlabelled := situation.table.unlabelled:
        yield f"{unlabelled} utterances without {situation.table.target.one} were left out."


def _missing_modality(situation: Situation) -> Iterator[str]:
    for modality, paths in situation.table.arrays.items():
        present = situation.table.present_modality(modality)
        if not present.any():
            extractors = sorted({extractor_of(path) for path in paths})
            held = " and no ".join(f"{one}{_why(situation, one)}" for one in extractors)
            yield (
                f"No {modality} at all: this snapshot holds no {held} "
                f"features. The network was given zeros in place of {modality}."
            )
            continue
        for split, rows in _by_purpose(situation):
            if not present[rows].any():
                yield f"No {modality} in {split}: none of its {len(rows)} utterances has any."


def _missing_feature(situation: Situation) -> Iterator[str]:
    table = situation.table
    for modality, paths in situation.table.arrays.items():
        if not table.present_modality(modality).any():
            continue
        for extractor in sorted({extractor_of(path) for path in paths}):
            own = [path for path in paths if path.startswith(f"{extractor}/")]
            present = np.logical_or.reduce([table.present(path) for path in own])
            if not present.any():
                why = _why(situation, extractor)
                yield f"No {extractor} features{why}; {modality} rests on its other features alone."
            elif absent := int((~present).sum()):
                yield (
                    f"{absent:,} of {len(table):,} utterances lack {extractor}"
                    f"{_why(situation, extractor)}; models do without it there."
                )


def _why(situation: Situation, extractor: str) -> str:
    """The reasons in brackets, e.g. `` (silent 3, timeout 1)``; nothing where none is known."""
    reasons = situation.table.missing.get(extractor, {})
    told = [f"{name} {n}" for name, n in reasons.items()]
    told += ["`meldflow extract` renews what is stale"] if STALE in reasons else []
    return f" ({', '.join(told)})" if told else ""


def _unseen_class(situation: Situation) -> Iterator[str]:
    division, protocol = situation.division, situation.protocol
    for i, label in enumerate(division.classes):
        seen = int((division.labels[division.fit] == i).sum())
        asked = int((division.labels[division.judge] == i).sum())
        if not seen:
            yield (
                f"No {protocol.fit} utterance is {label}, so no model can learn it; "
                f"{protocol.judge} has {asked}."
            )
        elif not asked:
            yield (
                f"No {protocol.judge} utterance is {label}: it has no AUC, and it counts as "
                "0 in the macro averages."
            )


def _one_speaker(situation: Situation) -> Iterator[str]:
    table, fit = situation.table, situation.division.fit
    speakers = set(table.speaker[fit].tolist())
    if len(speakers) == 1:
        yield (
            f"All {situation.protocol.fit} utterances have one speaker, "
            f"{speakers.pop() or 'without a name'}: nothing was learned about others."
        )


def _not_finite(situation: Situation) -> Iterator[str]:
    for path, rows in situation.table.not_finite().items():
        yield (
            f"{rows:,} utterances have values in {path} that are not finite; those count as "
            "average."
        )


def _few_rows(situation: Situation) -> Iterator[str]:
    few = [
        f"{len(rows)} {part}" for part, rows in _by_purpose(situation)[1:] if len(rows) < FEW_ROWS
    ]
    if few:
        yield (
            f"Only {' and '.join(few)} utterances: a few points more or less are chance; "
            "read the intervals."
        )


def _no_better_than_majority(situation: Situation) -> Iterator[str]:
    winner, floor = situation.judged[situation.winner].test, situation.judged["majority"].test
    if winner.weighted_f1_low <= floor.weighted_f1:
        yield (
            f"Not clearly better than always giving the same answer: the interval of the "
            f"weighted F1 ({winner.weighted_f1_low:.2f} to {winner.weighted_f1_high:.2f}) "
            f"reaches the majority baseline ({floor.weighted_f1:.2f})."
        )


def _repeated_texts(situation: Situation) -> Iterator[str]:
    division, protocol = situation.division, situation.protocol
    repeated, total = repeated_texts(situation.table, division), len(division.judge)
    if repeated > MANY_REPEATED * total:
        yield (
            f"{repeated} of {total} {protocol.judge} texts also occur, word for word, in "
            f"{protocol.fit}: a model can know them by heart."
        )


def _by_purpose(situation: Situation) -> list[tuple[str, NDArray[np.intp]]]:
    """The parts that models are fitted, chosen and judged on, each once."""
    protocol, division = situation.protocol, situation.division
    parts = {
        protocol.fit: division.fit,
        protocol.choose: division.choose,
        protocol.judge: division.judge,
    }
    return [(part, rows) for part, rows in parts.items() if part]


WORRIES: Mapping[str, Callable[[Situation], Iterator[str]]] = {
    "wrong_protocol": lambda situation: filter(None, [situation.protocol.wrong]),
    "random_weights": _random_weights,
    "not_better_than_majority": _no_better_than_majority,
    "unlabelled": _unlabelled,
    "missing_modality": _missing_modality,
    "missing_feature": _missing_feature,
    "not_finite": _not_finite,
    "unseen_class": _unseen_class,
    "one_speaker": _one_speaker,
    "few_rows": _few_rows,
    "repeated_texts": _repeated_texts,
}
"""Kind of caution → what finds it."""
