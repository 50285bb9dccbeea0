"""Sections on the models themselves: what the network looks at, its training, its size."""

from __future__ import annotations

from meldflow.models.judging.records import Candidate
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.blocks import (
    DASH,
    Block,
    Cell,
    Folded,
    Pictures,
    Section,
    Table,
    Text,
    fraction,
)
from meldflow.tasks.report.view import View
from meldflow.tasks.report.words import attended, judged_part, rules

_BYTES = 4
"""Of a parameter, float32."""


def attention(view: View) -> Section | None:
    """How much the network looks at each modality."""
    result = view.result
    modalities, by_class = attended(result)
    if not modalities:
        return None
    rows = tuple(
        (Cell(text=label), *(Cell(text=f"{one:.1%}", share=one) for one in weights))
        for label, weights in by_class.items()
    )
    return Section(
        title="What the network looks at",
        lead=(
            f"Mean attention of the shown seed's network over the {judged_part(result)} "
            f"utterances of each true {result.target}. It says what was looked at, not what "
            "decided: a modality with little weight can still tip the balance."
        ),
        blocks=(
            Pictures(figure="attention"),
            Folded(
                summary="The same as a table",
                blocks=(
                    Table(
                        caption="Mean weight, rows sum to 100 %",
                        head=(result.target.capitalize(), *modalities),
                        rows=rows,
                    ),
                ),
            ),
        ),
    )


def training(view: View) -> Section:
    """How the shown seed's network was trained and its SVM chosen."""
    result = view.result
    return Section(
        title="Training",
        lead=_course(result),
        blocks=(Pictures(figure="training"), *_svm(result)),
    )


def _course(result: TrainResult) -> str:
    """How long training went, and which epoch was kept."""
    last, kept = result.shown.history[-1].epoch, result.shown.best_epoch
    if not rules(result).choose:
        return (
            f"Training ran all {last} epochs and the last one was kept: this protocol chooses "
            "nothing, so there is no dev curve."
        )
    stop = (
        f"Dev stopped improving, so training ended after epoch {last}"
        if last < result.config.epochs
        else f"Training ran all {last} epochs"
    )
    return f"{stop}; the network of epoch {kept} was kept."


def _svm(result: TrainResult) -> tuple[Block, ...]:
    """The SVM that was taken, and those that were not."""
    chosen, grid = result.shown.svm_chosen, result.shown.svm_grid
    setting = f"C\u00a0=\u00a0{chosen.c:g}, gamma\u00a0=\u00a0{chosen.gamma:.3g}"
    sees = "The SVM (RBF kernel, balanced classes) sees the network's fused vector."
    if chosen.dev_weighted_f1 is None or len(grid) < 2:
        return (Text(text=f"{sees} Its setting was given: {setting}."),)
    table = Table(
        caption=f"Every machine tried, each fitted on the {rules(result).fit_svm} rows alone",
        head=("C", "Gamma", "Weighted F1 on dev"),
        rows=tuple(_candidate(one, chosen=one == chosen) for one in grid),
    )
    return (
        Text(text=f"{sees} Of {len(grid)} settings dev picked {setting}."),
        Folded(summary="All SVM settings", blocks=(table,)),
    )


def _candidate(one: Candidate, *, chosen: bool) -> tuple[Cell | str, ...]:
    return (
        Cell(text=f"{one.c:g}", strong=chosen),
        f"{one.gamma:.3g}",
        Cell(
            text=fraction(one.dev_weighted_f1),
            note="chosen" if chosen else "",
            share=one.dev_weighted_f1,
        ),
    )


def summary(view: View) -> Section:
    """The network's layers and how large they are."""
    result = view.result
    total = result.parameters
    rows = tuple(
        (Cell(text=one.name, note=one.kind), f"{one.parameters:,}", _share(one.parameters, total))
        for one in result.layers
    )
    return Section(
        title="The network",
        lead=(
            f"{result.network.capitalize()} network: {total:,} trainable parameters, "
            f"{mebibytes(total)} at {_BYTES} bytes each."
        ),
        blocks=(
            Table(
                caption="Layers; small print: their kind",
                head=("Layer", "Parameters", "Share"),
                rows=(
                    *rows,
                    (Cell(text="all", note=mebibytes(total), strong=True), f"{total:,}", "100.0 %"),
                ),
            ),
        ),
    )


def _share(parameters: int, total: int) -> str:
    return f"{100 * parameters / total:.1f} %" if total else DASH


def mebibytes(parameters: int) -> str:
    """Size of so many float32 parameters, e.g. ``22.18 MiB``."""
    return f"{parameters * _BYTES / 2**20:.2f} MiB"
