"""A report as one HTML page that needs no network: styles and pictures are inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from meldflow.tasks.pages.blocks import Link, Pictures, Section
from meldflow.tasks.pages.panels import DPI, Panel, render
from meldflow.tasks.pages.themes import THEMES


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """A drawn panel, as the template needs it."""

    light: str
    """PNG as a data URI."""
    dark: str
    alt: str
    width: int
    """Pixels."""
    height: int
    wide: bool


def render_document(document: Document) -> str:
    """The page as a string; whatever comes from data is escaped, nothing is fetched.

    Raises:
        KeyError: a ``Pictures`` block names a figure that the document has not.
    """
    shown = {
        block.figure
        for section in document.sections.values()
        for block in section.blocks
        if isinstance(block, Pictures)
    }
    pictures = {name: [_picture(panel) for panel in document.figures[name]] for name in shown}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html.j2")
    return template.render(document=document, pictures=pictures)


def _picture(panel: Panel) -> _Picture:
    light, dark = (
        "data:image/png;base64," + base64.b64encode(render((panel,), theme)).decode()
        for theme in THEMES
    )
    width, height = (round(inches * DPI) for inches in panel.size)
    return _Picture(
        light=light, dark=dark, alt=panel.alt, width=width, height=height, wide=panel.wide
    )
