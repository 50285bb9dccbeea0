"""Where the result comes from: data, rows, provenance."""

from __future__ import annotations

import json
from dataclasses import asdict

from meldflow.models.schema.utterances import SPLITS
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.blocks import Cell, Code, Facts, Row, Section, Table
from meldflow.tasks.pages.text import DASH, duration
from meldflow.tasks.report.pieces.naming import judged_part, rules
from meldflow.tasks.report.pieces.scores import seconds_of


def data(result: TrainResult) -> Section:
    """What the models were given."""
    given = result.data
    labels: list[Row] = [
        (label, *(f"{given.labels[split][label]:,}" for split in SPLITS))
        for label in result.classes
    ]
    total: Row = (Cell("all", strong=True), *(f"{given.rows[split]:,}" for split in SPLITS))
    present: list[Row] = [
        (
            path,
            *(
                Cell(f"{count[split]:,}", share=count[split] / max(given.rows[split], 1))
                for split in SPLITS
            ),
        )
        for path, count in given.present.items()
    ]
    reasons = [
        (extractor, reason.replace("_", " "), f"{count:,}")
        for extractor, counts in given.missing.items()
        for reason, count in counts.items()
    ]
    target = result.target
    tables = [
        Table(f"Utterances by {target}", (target.capitalize(), *SPLITS), (*labels, total)),
        Table("Utterances with the feature", ("Feature", *SPLITS), present),
        Table("Why features are missing", ("Extractor", "Reason", "Utterances"), reasons),
    ]
    return Section(
        "Data",
        f"{given.repeated_texts:,} of {len(result.test_ids):,} {judged_part(result)} texts also "
        f"occur, word for word, in {rules(result).fit}. A missing feature is replaced by the "
        "average of those that the network was fitted on.",
        tables if reasons else tables[:-1],
    )


def fitted(result: TrainResult) -> Section:
    """Which rows were used for what."""
    purposes = {"fitted": result.fitted, "chosen": result.chosen, "judged": result.judgements}
    rows = [
        (use.object, purpose, use.split, f"{use.rows:,}")
        for purpose, uses in purposes.items()
        for use in uses
    ]
    caption = "Every use of rows by the seed shown, in order"
    return Section(
        "Which rows were used for what",
        f"Protocol “{result.protocol}”: {rules(result).description} Using any other row stops "
        "the run, so this list is complete.",
        (Table(caption, ("Object", "Was", "On", "Rows"), rows, "words"),),
    )


def provenance(result: TrainResult) -> Section:
    """Where the result comes from and how to repeat it."""
    given, machine = result.data, result.hardware
    source = {
        "Store": given.store,
        "Snapshot": given.snapshot,
        "Protocol": result.protocol,
        "Started": result.started.replace("T", " ").replace("+00:00", " UTC"),
        "Network": f"{result.network}, {result.parameters:,} trainable parameters",
        "Modalities": ", ".join(result.modalities),
        "Target": result.target,
        "Seeds": ", ".join(str(one.seed) for one in result.seeds),
    }
    hardware = {
        "Processor": machine.cpu,
        "Cores": f"{machine.cores} usable, {machine.torch_threads} used by torch",
        "Memory": f"{machine.memory_gib:g} GiB",
        "System": machine.system,
    }
    facts = {
        "Source": source,
        "Extractors, their weights and keys": {
            name: f"{given.weights.get(name, DASH)}, {key}" for name, key in given.keys.items()
        },
        "Time": _times(result),
        "Machine": hardware,
        "Versions": result.versions,
        "Settings": {
            name.replace("_", " "): json.dumps(value)
            for name, value in asdict(result.config).items()
        },
    }
    return Section(
        "Where this comes from",
        "The same command on the same machine gives the same numbers.",
        (
            Code("Repeat this run", result.command),
            *(Facts(title, one) for title, one in facts.items()),
        ),
    )


def _times(result: TrainResult) -> dict[str, str]:
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
