"""Writes a training run's report: one HTML page that needs no network, figures, numbers."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.judging.records import TrainResult
from tasks.files import write_atomically
from tasks.report.blocks import Pictures
from tasks.report.figures import FIGURES, Panel, render
from tasks.report.headline import explanation, headline
from tasks.report.sections import SECTIONS
from tasks.report.themes import THEMES


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
    sections = {anchor: section for anchor, section in built.items() if section is not None}
    shown = {
        block.figure
        for section in sections.values()
        for block in section.blocks
        if isinstance(block, Pictures)
    }
    pictures = {name: [_picture(panel) for panel in FIGURES[name](result)] for name in shown}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        result=result,
        headline=headline(result),
        explanation=explanation(result),
        sections=sections,
        pictures=pictures,
        files=[*(f"{name}.png" for name in FIGURES), "results.json", "predictions.csv"],
    )


def _picture(panel: Panel) -> dict[str, str]:
    """Data URIs of a panel by theme, and its text for those who do not see it."""
    uris = {
        theme.name: "data:image/png;base64," + base64.b64encode(render((panel,), theme)).decode()
        for theme in THEMES
    }
    return uris | {"alt": panel.alt}


def _predictions(result: TrainResult) -> str:
    """CSV: the annotated emotion of each test utterance and what every model said."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("utterance", "emotion", *result.judged))
    predicted = (judged.predicted for judged in result.judged.values())
    writer.writerows(zip(result.test_ids, result.test_truth, *predicted, strict=True))
    return text.getvalue()
