"""What the result is worth: scores of the seed shown, and over all seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meldflow.models.judging.records import JUDGED, Scores
from meldflow.models.training.result import SeedResult, TrainResult
from meldflow.tasks.pages.blocks import Cell, Folded, Row, Section, Table
from meldflow.tasks.pages.text import DASH, duration, fraction, spread
from meldflow.tasks.report.pieces.naming import judged_part, model_name, over_seeds

MEASURES = {"weighted_f1": "Weighted F1", "accuracy": "Accuracy", "macro_f1": "Macro F1"}
"""Fields of ``Scores`` that are told over the seeds → their names for people."""

_OTHERS = (
    "accuracy",
    "macro_f1",
    "weighted_precision",
    "weighted_recall",
    "macro_precision",
    "macro_recall",
)
"""Fields that stand behind the weighted F1 of one seed."""


def section(result: TrainResult) -> Section | None:
    """Every model on the judged rows and on dev, the majority baseline included."""
    judged, several = result.judged, len(result.seeds) > 1
    which = f" with seed {result.shown.seed}" if several else ""
    title = f"{judged_part(result).capitalize()}{which}"
    own = _scores(result, title, {name: one.test for name, one in judged.items()})
    dev = {name: one.dev for name, one in judged.items() if one.dev is not None}
    on_dev = [_scores(result, f"Dev{which}", dev)] if dev else []
    folded = [Folded("The same on dev, where every choice was made", on_dev)] if dev else []
    return Section(
        "Scores",
        f"Weighted averages count every utterance alike, so the common {result.target}s "
        f"dominate; macro averages count every {result.target} alike, so the rare ones matter. "
        "Compare with the majority baseline before anything else.",
        (*((over_seeds_table(result), _by_seed(result)) if several else ()), own, *folded),
    )


def _scores(result: TrainResult, title: str, scores: Mapping[str, Scores]) -> Table:
    """Every metric of one seed, a row per model."""
    rows: list[Row] = [
        (
            _named(result, name),
            Cell(
                fraction(one.weighted_f1),
                f"{one.weighted_f1_low:.2f} to {one.weighted_f1_high:.2f}",
                one.weighted_f1,
            ),
            *(fraction(getattr(one, field)) for field in _OTHERS),
        )
        for name, one in scores.items()
    ]
    n = next(iter(scores.values())).rows
    others = (field.replace("_", " ").capitalize().replace(" f1", " F1") for field in _OTHERS)
    caption = f"{title}, {n:,} utterances; small print: 95 % interval"
    return Table(caption, ("Model", "Weighted F1", *others), rows)


def over_seeds_table(result: TrainResult, beside: Iterable[str] = ()) -> Table:
    """Mean and standard deviation of the figures that matter most.

    Args:
        result: what was judged.
        beside: parts of the rows that are shown behind the judged one and dev.
    """
    parts = {judged_part(result): JUDGED, "dev": "dev"} | {one: one for one in beside}
    known = {
        name: part
        for name, part in parts.items()
        if result.over_seeds(result.winner, "accuracy", part) is not None
    }
    rows: list[Row] = [
        (
            _named(result, name),
            *(
                spread(over_seeds(result, name, measure, part))
                for part in known.values()
                for measure in MEASURES
            ),
        )
        for name in result.judged
    ]
    head = ("Model", *(f"{words} on {part}" for part in known for words in MEASURES.values()))
    n = len(result.seeds)
    each = f"Mean ± standard deviation over {n} seeds" if n > 1 else f"Seed {result.shown.seed}"
    return Table(each, head, rows)


def _by_seed(result: TrainResult) -> Table:
    """A row per seed, the one that the page shows marked."""
    part = judged_part(result)
    models = [name for name in result.judged if name != "majority"]
    rows: list[Row] = [
        (
            Cell(
                str(one.seed),
                "shown on this page" if one is result.shown else "",
                strong=one is result.shown,
            ),
            *(_dev(one, name) for name in models),
            *(fraction(one.judged[name].test.weighted_f1) for name in models),
            str(one.best_epoch),
            duration(seconds_of(one)),
        )
        for one in result.seeds
    ]
    columns = (f"{model_name(name)} on {rows}" for rows in ("dev", part) for name in models)
    return Table(
        f"Weighted F1 of each seed; dev says which one is shown, {part} is not asked",
        ("Seed", *columns, "Epoch kept", "Time"),
        rows,
    )


def _dev(seed: SeedResult, model: str) -> str:
    dev = seed.judged[model].dev
    return DASH if dev is None else fraction(dev.weighted_f1)


def seconds_of(seed: SeedResult) -> float:
    """Seconds that a seed took by itself: the inputs are prepared once for all."""
    return sum(seconds for stage, seconds in seed.durations.items() if stage != "inputs")


def _named(result: TrainResult, model: str) -> Cell:
    """The first cell of a classifier's row; the chosen one's is marked."""
    chosen = model == result.winner
    by_dev = result.judged[model].dev is not None
    note = ("chosen on dev" if by_dev else "what the protocol judges") if chosen else ""
    return Cell(model_name(model), note, strong=chosen)
