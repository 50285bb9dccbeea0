"""Writes a training run's report: one HTML page that needs no network, figures, numbers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from models.judging.records import TrainResult
from tasks.files import write_atomically
from tasks.report.document import Document, Note, render_document
from tasks.report.figures import FIGURES
from tasks.report.headline import explanation, headline
from tasks.report.panels import render
from tasks.report.sections import SECTIONS

RESULT = "official"
"""The protocol whose report is what a reader finds first."""
GRAVE = ("random_weights", "not_better_than_majority")
"""Kinds of caution that put the whole result in doubt."""


def folder_of(directory: Path, protocol: str) -> Path:
    """Where in a report's folder a protocol's report lies.

    That of the official protocol lies in the folder itself; that of another one below it, under
    the protocol's name, so that it never takes the place of the result.
    """
    return directory if protocol == RESULT else directory / protocol


def write_report(result: TrainResult, directory: Path) -> Path:
    """The report of ``result`` in ``directory``, which is made if needed.

    Writes ``<figure>.png`` for every figure, ``predictions.csv``, ``results.json`` and
    ``index.html``, each whole or not at all, the page last.

    Returns:
        The path of ``index.html``.

    Raises:
        OSError: the folder cannot be written.
    """
    for name, build in FIGURES.items():
        write_atomically(directory / f"{name}.png", render(build(result)))
    write_atomically(directory / "predictions.csv", _predictions(result).encode())
    numbers = json.dumps(result.to_json(), indent=2, allow_nan=False)
    write_atomically(directory / "results.json", numbers.encode())
    return write_atomically(directory / "index.html", render_page(result).encode())


def render_page(result: TrainResult) -> str:
    """The page as a string: styles and pictures inside, nothing fetched."""
    built = {anchor: build(result) for anchor, build in SECTIONS.items()}
    snapshot, protocol = result.data.snapshot, result.protocol
    return render_document(
        Document(
            eyebrow=f"training report · protocol {protocol} · snapshot {snapshot}",
            title=headline(result),
            lead=explanation(result),
            notes=tuple(Note(text=one.message, grave=one.kind in GRAVE) for one in result.warnings),
            sections={anchor: one for anchor, one in built.items() if one is not None},
            figures={name: build(result) for name, build in FIGURES.items()},
            files=(*(f"{name}.png" for name in FIGURES), "results.json", "predictions.csv"),
        )
    )


def _predictions(result: TrainResult) -> str:
    """CSV: the annotated emotion of each test utterance and what every model said."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("utterance", "emotion", *result.judged))
    predicted = (judged.predicted for judged in result.judged.values())
    writer.writerows(zip(result.test_ids, result.test_truth, *predicted, strict=True))
    return text.getvalue()
