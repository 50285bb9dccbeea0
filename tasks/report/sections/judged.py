"""Sections on what the shown seed gets right: confusions, classes, ROC, sureness, worst misses."""

from __future__ import annotations

from meldflow.models.judging.records import Judgement, Reliability
from meldflow.models.judging.target import TARGETS
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.blocks import (
    DASH,
    Block,
    Cell,
    Folded,
    Pictures,
    Section,
    Table,
    fraction,
    model_name,
)
from meldflow.tasks.report.view import View
from meldflow.tasks.report.words import classifiers, judged_part, spoken


def confusion(view: View) -> Section | None:
    """What is taken for what."""
    result = view.result
    judged = classifiers(result)
    if not judged:
        return None
    return Section(
        title="What is taken for what",
        lead=(
            f"Each row is a true {result.target}, each column what the model said. A cell shows "
            f"the number of {judged_part(result)} utterances and its share of the row; a perfect "
            "model fills the diagonal only."
        ),
        blocks=(
            Pictures(figure="confusion"),
            Folded(
                summary="The same as tables",
                blocks=tuple(_confusion_table(name, one, result.classes) for name, one in judged),
            ),
        ),
    )


def _confusion_table(name: str, judged: Judgement, classes: tuple[str, ...]) -> Table:
    rows = []
    for label, counts in zip(classes, judged.confusion, strict=True):
        total = sum(counts)
        cells = (
            Cell(
                text=str(count),
                note=f"{count / total:.0%}" if count else "",
                share=count / total if total else 0.0,
            )
            for count in counts
        )
        rows.append((Cell(text=label), *cells))
    return Table(
        caption=f"{model_name(name)} (rows true, columns predicted)",
        head=("True", *classes),
        rows=tuple(rows),
        style="heat",
    )


def per_class(view: View) -> Section | None:
    """How each class fares."""
    result = view.result
    judged = [(name, one) for name, one in classifiers(result) if name != result.winner]
    if result.winner not in dict(classifiers(result)):
        return None
    name = result.target
    other: tuple[Block, ...] = (
        Folded(
            summary="The same for the other model",
            blocks=tuple(_class_table(result, name) for name, _ in judged),
        ),
    )
    return Section(
        title=f"{name.capitalize()} by {name}",
        lead=(
            f"A rare {name} is hard: a handful of utterances decide about its scores. A dash "
            "stands for what cannot be computed."
        ),
        blocks=(
            Pictures(figure="per_class"),
            _class_table(result, result.winner),
            *(other if judged else ()),
        ),
    )


def _class_table(result: TrainResult, model: str) -> Table:
    judged = result.judged[model]
    rows = tuple(
        (
            Cell(text=one.label),
            f"{one.total:,}",
            f"{one.correct:,}",
            f"{one.wrong:,}",
            Cell(
                text=DASH if one.percent is None else f"{one.percent:.1f} %",
                share=(one.percent or 0) / 100,
            ),
            fraction(one.precision),
            fraction(one.f1),
            fraction(curve.auc),
        )
        for one, curve in zip(judged.per_class, judged.roc, strict=True)
    )
    first = result.target.capitalize()
    return Table(
        caption=f"{model_name(model)} on {judged_part(result)}",
        head=(first, "Total", "Correct", "Wrong", "Correct %", "Precision", "F1", "AUC"),
        rows=rows,
    )


def roc(view: View) -> Section | None:
    """Ranking quality, one class against the rest."""
    name = view.result.target
    if not classifiers(view.result):
        return None
    return Section(
        title=f"One {name} against the rest",
        lead=(
            f"How well each model ranks utterances of {TARGETS[name].one} above all others. "
            "The area under the curve (AUC) is 0.5 for a coin and 1 for a perfect ranking."
        ),
        blocks=(Pictures(figure="roc"),),
    )


def reliability(view: View) -> Section | None:
    """Whether the models are as sure as they are right."""
    result = view.result
    known = {
        name: one.reliability for name, one in classifiers(result) if one.reliability is not None
    }
    if not known:
        return None
    dev = result.judged[result.winner].dev is not None
    rows = tuple(
        (Cell(text=model_name(name)), fraction(one.error), f"{one.temperature:.2f}")
        for name, one in known.items()
    )
    how = (
        "Scores are divided by a temperature, chosen on dev, before they become probabilities."
        if dev
        else "This protocol chooses no temperature, so the scores are taken as they are."
    )
    return Section(
        title="How sure against how right",
        lead=(
            "Bars show how often a model is right among the utterances that it is about equally "
            "sure of; the number above is how many those are. On the dashed line it is as sure "
            f"as it is right; bars below it mean too sure. {how}"
        ),
        blocks=(
            Pictures(figure="reliability"),
            Table(
                caption="Expected calibration error: mean gap between sureness and share right",
                head=("Model", "Calibration error", "Temperature"),
                rows=rows,
            ),
            Folded(
                summary="All bins as tables",
                blocks=tuple(_bins(name, one) for name, one in known.items()),
            ),
        ),
    )


def _bins(name: str, found: Reliability) -> Table:
    rows = tuple(
        (Cell(text=f"{one.rows:,}"), fraction(one.confidence), fraction(one.accuracy))
        for one in found.bins
    )
    head = ("Utterances", "How sure", "Share right")
    return Table(caption=f"{model_name(name)}, from unsure to sure", head=head, rows=rows)


def hardest(view: View) -> Section | None:
    """The worst misses, in their own words."""
    result = view.result
    if not result.hardest:
        return None
    rows = tuple(
        (
            Cell(text=one.utterance),
            one.speaker or DASH,
            one.text or DASH,
            one.truth,
            one.predicted,
            fraction(one.probability),
        )
        for one in result.hardest
    )
    model = spoken(result, result.winner)
    return Section(
        title="The hardest utterances",
        lead=(
            f"{judged_part(result).capitalize()} utterances whose true {result.target} the "
            f"{model} thought least likely, the worst first. Some of them nobody could tell, "
            "some are mistakes in the annotation."
        ),
        blocks=(
            Table(
                caption=f"Worst misses of the {model}",
                head=("Utterance", "Speaker", "Text", "Truth", "Predicted", "Thought of the truth"),
                rows=rows,
                style="cards",
            ),
        ),
    )
