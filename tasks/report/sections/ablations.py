"""Sections that set the chosen model beside others: differences, and less to go on."""

from __future__ import annotations

from meldflow.models.judging.records import Comparison
from meldflow.tasks.pages.blocks import DASH, Cell, Pictures, Section, Table, spread
from meldflow.tasks.report.sections.scores import MEASURES
from meldflow.tasks.report.view import View
from meldflow.tasks.report.words import choice_name, choices, judged_part, spoken


def comparisons(view: View) -> Section | None:
    """The chosen model against every other on the same utterances."""
    result = view.result
    if not result.comparisons:
        return None
    model = spoken(result, result.winner)
    return Section(
        title="Is the difference real?",
        lead=(
            f"The {model} against every other model on the same {judged_part(result)} "
            "utterances, seed shown. An interval that holds 0 means that these utterances "
            "cannot tell which is better; so does a large p. The more lines there are, the "
            "likelier it is that one of them looks clear by chance."
        ),
        blocks=(
            Table(
                caption=f"Weighted F1 of the {model} minus that of the other; small print: 95 % "
                "interval (paired bootstrap); p: McNemar's exact test",
                head=("Against", "Difference", f"Only the {model} right", "Only the other", "p"),
                rows=tuple(
                    (
                        Cell(text=choice_name(one.other, result)),
                        Cell(
                            text=signed(one.difference),
                            note=f"{signed(one.low)} to {signed(one.high)}",
                        ),
                        f"{one.only_one:,}",
                        f"{one.only_other:,}",
                        p_value(one),
                    )
                    for one in result.comparisons
                ),
                style="tally",
            ),
        ),
    )


def signed(value: float) -> str:
    """Three decimals with a sign, a true minus."""
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", "\u2212")


def p_value(one: Comparison) -> str:
    """McNemar's p for people."""
    return "below 0.001" if one.p < 0.001 else f"{one.p:.3f}"


def ablations(view: View) -> Section | None:
    """What is lost without a modality, or without the network."""
    result = view.result
    if not result.ablations:
        return None
    lines = choices(result)
    on_dev = any(line.dev for line in lines)
    rows = tuple(
        (
            Cell(text=line.name, strong=line.model == result.winner and line.whole),
            *((spread(line.dev.get("weighted_f1")),) if on_dev else ()),
            *(spread(line.judged.get(measure)) for measure in MEASURES),
            str(line.seeds) if line.model != "majority" else DASH,
        )
        for line in lines
    )
    part = judged_part(result)
    return Section(
        title="With less to go on",
        lead=(
            "The same network, trained anew on a modality or two, and an SVM on the features "
            "themselves, without a network. Where a bar is as long without a modality, that "
            "modality adds nothing here."
        ),
        blocks=(
            Pictures(figure="ablations"),
            Table(
                caption="Mean ± standard deviation over the seeds",
                head=(
                    "Goes on",
                    *(("Weighted F1 on dev",) if on_dev else ()),
                    *(f"{words} on {part}" for words in MEASURES.values()),
                    "Seeds",
                ),
                rows=rows,
                style="tally",
            ),
        ),
    )
