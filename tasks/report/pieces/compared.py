"""The chosen model beside others: differences, less to go on, another protocol."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from meldflow.models.judging.records import JUDGED
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.panels import PANEL, Panel
from meldflow.tasks.pages.text import DASH, Cell, Row, Table, signed, spread
from meldflow.tasks.pages.themes import Theme
from meldflow.tasks.report.pieces import naming
from meldflow.tasks.report.pieces.classes import confusion_panel
from meldflow.tasks.report.pieces.scores import MEASURES


def comparisons_table(result: TrainResult) -> Table:
    """The chosen model against every other on the same utterances; p is McNemar's."""
    model = naming.spoken(result, result.winner)
    rows: list[Row] = [
        (
            naming.choice_name(one.other, result),
            Cell(signed(one.difference), f"{signed(one.low)} to {signed(one.high)}"),
            f"{one.only_one:,}",
            f"{one.only_other:,}",
            "below 0.001" if one.p < 0.001 else f"{one.p:.3f}",
        )
        for one in result.comparisons
    ]
    return Table(
        f"Weighted F1 of the {model} minus that of the other; small print: 95 % "
        "interval (paired bootstrap); p: McNemar's exact test",
        ("Against", "Difference", f"Only the {model} right", "Only the other", "p"),
        rows,
        "tally",
    )


def ablations_table(result: TrainResult) -> Table:
    """What is lost without a modality, or without the network."""
    lines, part = naming.choices(result) if result.ablations else (), naming.rules(result).judge
    on_dev = ["weighted_f1"] if any(one.dev for one in lines) else []
    rows: list[Row] = [
        (
            Cell(one.name, strong=one.model == result.winner and one.whole),
            *(spread(one.dev.get(measure)) for measure in on_dev),
            *(spread(one.test.get(measure)) for measure in MEASURES),
            str(one.seeds) if one.model != "majority" else DASH,
        )
        for one in lines
    ]
    head = (
        "Goes on",
        *(f"{MEASURES[measure]} on dev" for measure in on_dev),
        *(f"{words} on {part}" for words in MEASURES.values()),
        "Seeds",
    )
    return Table("Mean ± standard deviation over the seeds", head, rows, "tally")


def ablation_panels(result: TrainResult) -> tuple[Panel, ...]:
    """Weighted F1 of every choice of modalities, of the whole and of the majority."""
    if not result.ablations:
        return ()
    lines, part = naming.choices(result), naming.rules(result).judge
    means = np.array([one.test["weighted_f1"].mean for one in lines])
    sds = np.array([one.test["weighted_f1"].sd or 0.0 for one in lines])

    def draw(axes: Axes, theme: Theme) -> None:
        places = np.arange(len(lines))
        colours = [theme.models.get(one.model, theme.faint) for one in lines]
        bars = axes.barh(places, means, 0.72, color=colours)
        for bar, one in zip(bars, lines, strict=True):
            bar.set_alpha(1.0 if one.whole else 0.62)
        told = sds > 0
        style: dict[str, Any] = {"fmt": "none", "ecolor": theme.ink, "capsize": 3}
        axes.errorbar(means[told], places[told], xerr=sds[told], elinewidth=1.3, **style)
        for place, mean, sd in zip(places, means, sds, strict=True):
            axes.text(mean + sd + 0.012, float(place), f"{mean:.3f}", va="center", fontsize=9)
        axes.set_yticks(places, [_two_lines(one.name) for one in lines])
        axes.invert_yaxis()
        axes.set(xlim=(0, min(1.12, float((means + sds).max()) * 1.12 + 0.06)))
        axes.set_xlabel(f"weighted F1 on {part}, mean over the seeds")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)

    told = ", ".join(f"{one.name} {mean:.2f}" for one, mean in zip(lines, means, strict=True))
    alt = f"Weighted F1 on {part} by what the model goes on: {told}."
    height = max(3.5, 0.42 * len(lines) + 1.2)
    return (Panel("Weighted F1 by what it goes on", alt, draw, PANEL[0] / height),)


def _two_lines(name: str) -> str:
    """A long name broken after what it is, so that the bars keep their room on a phone."""
    parts = re.split(r"([,:]) ", name, maxsplit=1)
    return name if len(name) < 18 or len(parts) == 1 else "{}{}\n{}".format(*parts)


def in_order(result: TrainResult, others: Mapping[str, TrainResult]) -> list[TrainResult]:
    """The results by all protocols, those that are none last."""
    return sorted([result, *others.values()], key=lambda one: bool(naming.rules(one).wrong))


def protocols_table(results: list[TrainResult]) -> Table:
    """A row per model, a column per protocol and part of the rows."""
    columns = [
        (result, name, part)
        for result in results
        for name, part in [
            (naming.rules(result).judge, JUDGED),
            *((b, b) for b in result.shown.beside),
        ]
    ]
    return Table(
        "Weighted F1, mean over each protocol's seeds; small print: accuracy, macro F1",
        ("Model", *(f"{result.protocol}, on {name}" for result, name, _ in columns)),
        [
            (naming.model_name(model), *(_cell(result, model, part) for result, _, part in columns))
            for model in results[0].judged
        ],
    )


def _cell(result: TrainResult, model: str, part: str) -> Cell:
    """A classifier's figures on a part of the rows."""
    score = naming.over_seeds(result, model, "weighted_f1", part)
    if score is None:
        return Cell(DASH)
    beside = (
        spread(naming.over_seeds(result, model, one, part)) for one in ("accuracy", "macro_f1")
    )
    return Cell(spread(score), ", ".join(beside), score.mean)


def protocol_panels(result: TrainResult) -> tuple[Panel, ...]:
    """The chosen classifier's confusions on its protocol's rows and on those beside."""
    shown, name = result.shown, naming.spoken(result, result.winner)
    if not shown.beside:
        return ()
    return tuple(
        confusion_panel(
            f"{name[:1].upper()}{name[1:]} on {part}", judged[result.winner], result.classes
        )
        for part, judged in {naming.rules(result).judge: shown.judged, **shown.beside}.items()
    )
