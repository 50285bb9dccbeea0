"""What the result is worth, of the seed shown and over all seeds, and what it took."""

from collections.abc import Iterable

from meldflow.models.judging.records import JUDGED
from meldflow.models.training.result import SeedResult, TrainResult
from meldflow.tasks.pages.text import Cell, Row, Table, duration, fraction, spread
from meldflow.tasks.report.pieces.naming import model_name, over_seeds, rules

MEASURES = {"weighted_f1": "Weighted F1", "accuracy": "Accuracy", "macro_f1": "Macro F1"}
"""Fields of ``Scores`` that are told over the seeds → their names for people."""


def over_seeds_table(result: TrainResult, beside: Iterable[str] = ()) -> Table:
    """Mean and standard deviation of the figures that matter most.

    On the part that was judged, on dev, and on those ``beside``.
    """
    parts = {rules(result).judge: JUDGED, "dev": "dev"} | {one: one for one in beside}
    known = {
        name: part
        for name, part in parts.items()
        if result.over_seeds(result.winner, "accuracy", part) is not None
    }
    rows: list[Row] = [
        (
            named(result, name),
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


def seeds_table(result: TrainResult) -> Table:
    """A row per seed, the one that the page shows marked."""
    part = rules(result).judge
    models = [name for name in result.judged if name != "majority"]
    rows: list[Row] = [
        (
            Cell(
                str(one.seed),
                "shown on this page" if one is result.shown else "",
                strong=one is result.shown,
            ),
            *(fraction(getattr(one.judged[name].dev, "weighted_f1", None)) for name in models),
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


def seconds_of(seed: SeedResult) -> float:
    """Seconds that a seed took by itself: the inputs are prepared once for all."""
    return sum(seconds for stage, seconds in seed.durations.items() if stage != "inputs")


def named(result: TrainResult, model: str) -> Cell:
    """The first cell of a classifier's row; the chosen one's is marked."""
    chosen = model == result.winner
    by_dev = result.judged[model].dev is not None
    note = ("chosen on dev" if by_dev else "what the protocol judges") if chosen else ""
    return Cell(model_name(model), note, strong=chosen)


def times(result: TrainResult) -> dict[str, str]:
    """How long each stage took, reading from the store included; seeds added up."""
    stages: dict[str, float] = {}
    for seed in result.seeds:
        for stage, seconds in seed.durations.items():
            # The inputs are prepared once; every seed tells it.
            before = 0.0 if stage == "inputs" else stages.get(stage, 0.0)
            stages[stage] = before + seconds
    own = result.read_seconds + stages.get("inputs", 0.0) + sum(map(seconds_of, result.seeds))
    times = {
        "reading from the store": result.read_seconds,
        **stages,
        "ablations and the rest" if result.ablations else "the rest": max(result.seconds - own, 0),
        "everything": result.seconds,
    }
    return {name: duration(seconds) for name, seconds in times.items()}
