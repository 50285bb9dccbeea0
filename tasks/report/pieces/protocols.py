"""The figures of one protocol beside those of another."""

from collections.abc import Mapping

from meldflow.models.judging.records import JUDGED
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.blocks import Cell, Table
from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.pages.text import DASH, spread
from meldflow.tasks.report.pieces.classes import confusion_panel
from meldflow.tasks.report.pieces.naming import model_name, over_seeds, rules, spoken


def in_order(result: TrainResult, others: Mapping[str, TrainResult]) -> list[TrainResult]:
    """The results by all protocols, those that are none last."""
    return sorted([result, *others.values()], key=lambda one: bool(rules(one).wrong))


def table(results: list[TrainResult]) -> Table:
    """A row per model, a column per protocol and part of the rows."""
    columns = [
        (result, name, part)
        for result in results
        for name, part in [(rules(result).judge, JUDGED), *((b, b) for b in result.shown.beside)]
    ]
    return Table(
        "Weighted F1, mean over each protocol's seeds; small print: accuracy, macro F1",
        ("Model", *(f"{result.protocol}, on {name}" for result, name, _ in columns)),
        [
            (model_name(model), *(_cell(result, model, part) for result, _, part in columns))
            for model in results[0].judged
        ],
    )


def _cell(result: TrainResult, model: str, part: str) -> Cell:
    """A classifier's figures on a part of the rows."""
    score = over_seeds(result, model, "weighted_f1", part)
    if score is None:
        return Cell(DASH)
    beside = (spread(over_seeds(result, model, one, part)) for one in ("accuracy", "macro_f1"))
    return Cell(spread(score), ", ".join(beside), score.mean)


def panels(result: TrainResult) -> tuple[Panel, ...]:
    """The chosen classifier's confusions on its protocol's rows and on those beside."""
    shown, name = result.shown, spoken(result, result.winner)
    if not shown.beside:
        return ()
    return tuple(
        confusion_panel(
            f"{name[:1].upper()}{name[1:]} on {part}", judged[result.winner], result.classes
        )
        for part, judged in {rules(result).judge: shown.judged, **shown.beside}.items()
    )
