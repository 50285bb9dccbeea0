"""A report as one HTML page that needs no network: styles and pictures are inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from meldflow.tasks.pages.blocks import Link, Pictures, Section
from meldflow.tasks.pages.panels import DPI, Panel, render
from meldflow.tasks.pages.themes import THEMES


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence that the reader has to see before anything else."""

    text: str
    grave: bool = False
    """Whether it puts the whole report in doubt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a report says, without how it looks."""

    eyebrow: str
    """What kind of report it is and of what, in a few words."""
    title: str
    """The result, in one plain sentence."""
    lead: str = ""
    """How to take it, in a sentence or two."""
    notes: tuple[Note, ...] = ()
    links: tuple[Link, ...] = ()
    """Other pages that the reader may look for."""
    sections: Mapping[str, Section]
    """Anchor in the page → section, top to bottom."""
    figures: Mapping[str, tuple[Panel, ...]] = field(default_factory=dict)
    """Name → panels of the figures that ``Pictures`` blocks may name."""
    files: tuple[str, ...] = ()
    """Names of the files that lie beside the page."""


def render_document(document: Document) -> str:
    """The page as a string; whatever comes from data is escaped, nothing is fetched.

    Raises:
        KeyError: a ``Pictures`` block names a figure that the document has not.
    """
    blocks = chain.from_iterable(one.blocks for one in document.sections.values())
    shown = {one.figure for one in blocks if isinstance(one, Pictures)}
    drawn = {name: [(one, _drawn(one)) for one in document.figures[name]] for name in shown}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html.j2")
    return template.render(document=document, drawn=drawn, dpi=DPI)


def _drawn(panel: Panel) -> dict[str, str]:
    """Theme → the panel in it, a PNG as a data URI."""
    pictures = {theme.name: render((panel,), theme) for theme in THEMES}
    return {
        name: f"data:image/png;base64,{base64.b64encode(png).decode()}"
        for name, png in pictures.items()
    }
