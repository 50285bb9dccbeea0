"""Sections on where the result comes from: training, data, rows, provenance."""

from __future__ import annotations

import json
from dataclasses import asdict

from models.judging.records import TrainResult, Use
from models.schema import EMOTIONS, SPLITS
from tasks.report.blocks import (
    DASH,
    Cell,
    Code,
    Facts,
    Folded,
    Pictures,
    Row,
    Section,
    Table,
    Text,
    duration,
    fraction,
)


def training(result: TrainResult) -> Section:
    """How the network was trained and the SVM chosen."""
    last = result.history[-1].epoch
    stop = (
        f"Dev stopped improving, so training ended after epoch {last}"
        if last < result.config.epochs
        else f"Training ran all {last} epochs"
    )
    grid = tuple(
        (
            Cell(text=f"{one.c:g}", strong=one == result.svm_chosen),
            f"{one.gamma:.3g}",
            Cell(
                text=fraction(one.dev_weighted_f1),
                note="chosen" if one == result.svm_chosen else "",
                share=one.dev_weighted_f1,
            ),
        )
        for one in result.svm_grid
    )
    table = Table(
        caption="Every machine tried, each fitted on the training rows alone",
        head=("C", "Gamma", "Weighted F1 on dev"),
        rows=grid,
    )
    chosen = result.svm_chosen
    return Section(
        title="Training",
        lead=f"{stop}; the network of epoch {result.best_epoch} was kept.",
        blocks=(
            Pictures(figure="training"),
            Text(
                text=f"The SVM (RBF kernel, balanced classes) sees the network's fused "
                f"vector. Of {len(grid)} settings dev picked C\u00a0=\u00a0{chosen.c:g}, "
                f"gamma\u00a0=\u00a0{chosen.gamma:.3g}."
            ),
            Folded(summary="All SVM settings", blocks=(table,)),
        ),
    )


def data(result: TrainResult) -> Section:
    """What the models were given."""
    given = result.data
    rows: tuple[Row, ...] = tuple(
        (Cell(text=emotion), *(f"{given.emotions[split][emotion]:,}" for split in SPLITS))
        for emotion in EMOTIONS
    )
    total: Row = (Cell(text="all", strong=True), *(f"{given.rows[split]:,}" for split in SPLITS))
    coverage = tuple(
        (
            Cell(text=path),
            *(
                Cell(text=f"{count[split]:,}", share=count[split] / max(given.rows[split], 1))
                for split in SPLITS
            ),
        )
        for path, count in given.present.items()
    )
    reasons = tuple(
        (Cell(text=extractor), reason.replace("_", " "), f"{count:,}")
        for extractor, counts in given.missing.items()
        for reason, count in counts.items()
    )
    tables = [
        Table(caption="Utterances by emotion", head=("Emotion", *SPLITS), rows=(*rows, total)),
        Table(caption="Utterances with the feature", head=("Feature", *SPLITS), rows=coverage),
    ]
    if reasons:
        head = ("Extractor", "Reason", "Utterances")
        tables.append(Table(caption="Why features are missing", head=head, rows=reasons))
    return Section(
        title="Data",
        lead=(
            f"{given.repeated_texts:,} of {given.rows['test']:,} test texts also occur, word for "
            "word, in train. A missing feature is replaced by the training average."
        ),
        blocks=tuple(tables),
    )


def fitted(result: TrainResult) -> Section:
    """Which rows were used for what."""
    purposes: tuple[tuple[str, tuple[Use, ...]], ...] = (
        ("fitted", result.fitted),
        ("chosen", result.chosen),
        ("judged", result.judgements),
    )
    rows = tuple(
        (Cell(text=use.object), purpose, use.split, f"{use.rows:,}")
        for purpose, uses in purposes
        for use in uses
    )
    return Section(
        title="Which rows were used for what",
        lead=(
            f"Protocol “{result.protocol}”: {result.protocol_description} Using any other row "
            "stops the run, so this list is complete."
        ),
        blocks=(
            Table(
                caption="Every use of rows, in order",
                head=("Object", "Was", "On split", "Rows"),
                rows=rows,
                style="words",
            ),
        ),
    )


def provenance(result: TrainResult) -> Section:
    """Where the result comes from and how to repeat it."""
    given, machine = result.data, result.hardware
    extractors = tuple(
        (name, f"{given.weights.get(name, DASH)}, {key}") for name, key in given.keys.items()
    )
    config = {name: json.dumps(value) for name, value in asdict(result.config).items()}
    hardware = (
        ("Processor", machine.cpu),
        ("Cores", f"{machine.cores} usable, {machine.torch_threads} used by torch"),
        ("Memory", f"{machine.memory_gib:g} GiB"),
        ("System", machine.system),
    )
    return Section(
        title="Where this comes from",
        lead="The same command on the same machine gives the same numbers.",
        blocks=(
            Code(label="Repeat this run", text=result.command),
            Facts(
                title="Source",
                facts=(
                    ("Store", given.store),
                    ("Snapshot", given.snapshot),
                    ("Protocol", result.protocol),
                    ("Started", result.started.replace("T", " ").replace("+00:00", " UTC")),
                    ("Network", f"{result.network}, {result.parameters:,} trainable parameters"),
                    ("Modalities", ", ".join(result.modalities)),
                ),
            ),
            Facts(title="Extractors, their weights and keys", facts=extractors),
            Facts(title="Time", facts=tuple((k, duration(v)) for k, v in result.durations.items())),
            Facts(title="Machine", facts=hardware),
            Facts(title="Versions", facts=tuple(result.versions.items())),
            Facts(
                title="Settings",
                facts=tuple((name.replace("_", " "), value) for name, value in config.items()),
            ),
        ),
    )
