"""The section that sets the figures of one protocol beside those of another."""

from __future__ import annotations

from meldflow.models.judging.records import JUDGED
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.blocks import (
    DASH,
    Block,
    Cell,
    Link,
    Pictures,
    Section,
    Table,
    model_name,
    spread,
)
from meldflow.tasks.report.view import Other, View
from meldflow.tasks.report.words import over_seeds, rules


def side_by_side(view: View) -> Section | None:
    """The same rows by two protocols, or the same models on two kinds of rows."""
    result = view.result
    if not view.others and not result.shown.beside:
        return None
    results = [result, *(one.result for one in view.others)]
    results.sort(key=lambda one: bool(rules(one).wrong))
    pictures: tuple[Block, ...] = (Pictures(figure="protocols"),) if result.shown.beside else ()
    return Section(
        title="Two protocols side by side",
        lead=_lead(results),
        blocks=(_table(results), *pictures, *map(link_to, view.others)),
    )


def link_to(other: Other) -> Link:
    """A line that leads to the page of another protocol."""
    name, wrong = other.result.protocol, rules(other.result).wrong
    what = "what the wrong protocol" if wrong else "the result by the protocol"
    return Link(text=f"See {what} “{name}”{' gives' * bool(wrong)}", href=other.href)


def _lead(results: list[TrainResult]) -> str:
    """What is wrong with those that are wrong."""
    wrong = [one for one in results if rules(one).wrong]
    told = [f"Protocol “{one.protocol}”: {rules(one).wrong}" for one in wrong]
    if any("test" in one.shown.beside for one in wrong):
        told.append("What the very same models reach on test stands beside it.")
    return " ".join(told)


def _table(results: list[TrainResult]) -> Table:
    """A row per model, a column per protocol and part of the rows."""
    columns = [
        (result, name, part)
        for result in results
        for name, part in (
            (rules(result).judge, JUDGED),
            *((name, name) for name in result.shown.beside),
        )
    ]
    return Table(
        caption="Weighted F1, mean over each protocol's seeds; small print: accuracy, macro F1",
        head=("Model", *(f"{result.protocol}, on {name}" for result, name, _ in columns)),
        rows=tuple(
            (
                Cell(text=model_name(model)),
                *(_cell(result, model, part) for result, _, part in columns),
            )
            for model in results[0].judged
        ),
    )


def _cell(result: TrainResult, model: str, part: str) -> Cell:
    """A classifier's figures on a part of the rows."""
    score = over_seeds(result, model, "weighted_f1", part)
    if score is None:
        return Cell(text=DASH)
    accuracy = spread(over_seeds(result, model, "accuracy", part))
    macro = spread(over_seeds(result, model, "macro_f1", part))
    return Cell(text=spread(score), note=f"{accuracy}, {macro}", share=score.mean)
