"""Sections on where the result comes from: data, rows, provenance."""

from __future__ import annotations

import json
from dataclasses import asdict

from meldflow.models.judging.records import Use
from meldflow.models.schema.utterances import SPLITS
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.blocks import DASH, Cell, Code, Facts, Row, Section, Table, duration
from meldflow.tasks.report.sections.scores import seconds_of
from meldflow.tasks.report.view import View
from meldflow.tasks.report.words import judged_part, rules


def data(view: View) -> Section:
    """What the models were given."""
    result = view.result
    given = result.data
    rows: tuple[Row, ...] = tuple(
        (Cell(text=label), *(f"{given.labels[split][label]:,}" for split in SPLITS))
        for label in result.classes
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
        Table(
            caption=f"Utterances by {result.target}",
            head=(result.target.capitalize(), *SPLITS),
            rows=(*rows, total),
        ),
        Table(caption="Utterances with the feature", head=("Feature", *SPLITS), rows=coverage),
    ]
    if reasons:
        head = ("Extractor", "Reason", "Utterances")
        tables.append(Table(caption="Why features are missing", head=head, rows=reasons))
    return Section(
        title="Data",
        lead=(
            f"{given.repeated_texts:,} of {len(result.test_ids):,} {judged_part(result)} texts "
            f"also occur, word for word, in {rules(result).fit}. A missing feature is replaced "
            "by the average of those that the network was fitted on."
        ),
        blocks=tuple(tables),
    )


def fitted(view: View) -> Section:
    """Which rows were used for what."""
    result = view.result
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
            f"Protocol “{result.protocol}”: {rules(result).description} Using any other row "
            "stops the run, so this list is complete."
        ),
        blocks=(
            Table(
                caption="Every use of rows by the seed shown, in order",
                head=("Object", "Was", "On", "Rows"),
                rows=rows,
                style="words",
            ),
        ),
    )


def provenance(view: View) -> Section:
    """Where the result comes from and how to repeat it."""
    result = view.result
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
                    ("Target", result.target),
                    ("Seeds", ", ".join(str(one.seed) for one in result.seeds)),
                ),
            ),
            Facts(title="Extractors, their weights and keys", facts=extractors),
            Facts(title="Time", facts=_times(result)),
            Facts(title="Machine", facts=hardware),
            Facts(title="Versions", facts=tuple(result.versions.items())),
            Facts(
                title="Settings",
                facts=tuple((name.replace("_", " "), value) for name, value in config.items()),
            ),
        ),
    )


def _times(result: TrainResult) -> tuple[tuple[str, str], ...]:
    """How long each stage took, reading from the store included; seeds added up."""
    stages: dict[str, float] = {}
    for seed in result.seeds:
        for stage, seconds in seed.durations.items():
            # The inputs are prepared once; every seed tells it.
            before = 0.0 if stage == "inputs" else stages.get(stage, 0.0)
            stages[stage] = before + seconds
    own = result.read_seconds + stages.get("inputs", 0.0) + sum(map(seconds_of, result.seeds))
    rest = max(result.seconds - own, 0.0)
    return (
        ("reading from the store", duration(result.read_seconds)),
        *((stage, duration(seconds)) for stage, seconds in stages.items()),
        ("ablations and the rest" if result.ablations else "the rest", duration(rest)),
        ("everything", duration(result.seconds)),
    )
