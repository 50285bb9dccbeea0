"""Sections on what the result is worth: scores, confusions, emotions, ROC."""

from __future__ import annotations

from models.judging.records import Judgement, Scores, TrainResult
from models.schema import EMOTIONS
from tasks.report.blocks import (
    DASH,
    Cell,
    Folded,
    Pictures,
    Row,
    Section,
    Table,
    fraction,
    model_name,
)


def metrics(result: TrainResult) -> Section:
    """Every model on test and dev, the majority baseline included."""
    return Section(
        title="Scores",
        lead=(
            "Weighted averages count every utterance alike, so the common emotions dominate; "
            "macro averages count every emotion alike, so the rare ones matter. Compare with "
            "the majority baseline before anything else."
        ),
        blocks=(
            _scores(result, "Test", {name: one.test for name, one in result.judged.items()}),
            Folded(
                summary="The same on dev, where every choice was made",
                blocks=(
                    _scores(result, "Dev", {name: one.dev for name, one in result.judged.items()}),
                ),
            ),
        ),
    )


def _scores(result: TrainResult, split: str, scores: dict[str, Scores]) -> Table:
    rows: list[Row] = []
    for name, one in scores.items():
        between = f"{one.weighted_f1_low:.2f} to {one.weighted_f1_high:.2f}"
        others = (
            one.accuracy,
            one.macro_f1,
            one.weighted_precision,
            one.weighted_recall,
            one.macro_precision,
            one.macro_recall,
        )
        rows.append(
            (
                Cell(
                    text=model_name(name),
                    note="chosen on dev" if name == result.winner else "",
                    strong=name == result.winner,
                ),
                Cell(text=fraction(one.weighted_f1), note=between, share=one.weighted_f1),
                *(fraction(value) for value in others),
            )
        )
    n = next(iter(scores.values())).rows
    return Table(
        caption=f"{split}, {n:,} utterances; small print: 95 % interval",
        head=(
            "Model",
            "Weighted F1",
            "Accuracy",
            "Macro F1",
            "Weighted precision",
            "Weighted recall",
            "Macro precision",
            "Macro recall",
        ),
        rows=tuple(rows),
    )


def confusion(result: TrainResult) -> Section:
    """What is taken for what."""
    judged = {name: one for name, one in result.judged.items() if one.roc}
    return Section(
        title="What is taken for what",
        lead=(
            "Each row is a true emotion, each column what the model said. A cell shows the "
            "number of test utterances and its share of the row; a perfect model fills the "
            "diagonal only."
        ),
        blocks=(
            Pictures(figure="confusion"),
            Folded(
                summary="The same as tables",
                blocks=tuple(_confusion_table(name, one) for name, one in judged.items()),
            ),
        ),
    )


def _confusion_table(name: str, judged: Judgement) -> Table:
    rows = []
    for emotion, counts in zip(EMOTIONS, judged.confusion, strict=True):
        total = sum(counts)
        cells = (
            Cell(
                text=str(count),
                note=f"{count / total:.0%}" if count else "",
                share=count / total if total else 0.0,
            )
            for count in counts
        )
        rows.append((Cell(text=emotion), *cells))
    return Table(
        caption=f"{model_name(name)} (rows true, columns predicted)",
        head=("True", *EMOTIONS),
        rows=tuple(rows),
        style="heat",
    )


def per_emotion(result: TrainResult) -> Section:
    """How each emotion fares."""
    judged = [(name, one) for name, one in result.judged.items() if one.roc]
    return Section(
        title="Emotion by emotion",
        lead=(
            "Rare emotions are hard: a handful of utterances decide about their scores. A dash "
            "stands for what cannot be computed."
        ),
        blocks=(
            Pictures(figure="per_emotion"),
            _emotion_table(result.winner, result.judged[result.winner]),
            Folded(
                summary="The same for the other model",
                blocks=tuple(_emotion_table(n, one) for n, one in judged if n != result.winner),
            ),
        ),
    )


def _emotion_table(name: str, judged: Judgement) -> Table:
    rows = tuple(
        (
            Cell(text=one.emotion),
            str(one.total),
            str(one.correct),
            str(one.wrong),
            Cell(
                text=DASH if one.percent is None else f"{one.percent:.1f} %",
                share=(one.percent or 0) / 100,
            ),
            fraction(one.precision),
            fraction(one.f1),
            fraction(curve.auc),
        )
        for one, curve in zip(judged.per_emotion, judged.roc, strict=True)
    )
    return Table(
        caption=f"{model_name(name)} on test",
        head=("Emotion", "Total", "Correct", "Wrong", "Correct %", "Precision", "F1", "AUC"),
        rows=rows,
    )


def roc(result: TrainResult) -> Section:
    """Ranking quality, one emotion against the rest."""
    del result
    return Section(
        title="One emotion against the rest",
        lead=(
            "How well each model ranks utterances of an emotion above all others. The area "
            "under the curve (AUC) is 0.5 for a coin and 1 for a perfect ranking."
        ),
        blocks=(Pictures(figure="roc"),),
    )
