"""A report as one HTML page that needs no network: styles and pictures are inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from meldflow.tasks.pages import templates
from meldflow.tasks.pages.blocks import Section
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
    sections: Mapping[str, Section] = field(default_factory=dict)
    """Anchor in the page → section, top to bottom; a template of its own may know others."""
    figures: Mapping[str, tuple[Panel, ...]] = field(default_factory=dict)
    """Name → panels of the figures that the page shows."""
    files: tuple[str, ...] = ()
    """Names of the files that lie beside the page."""


def render_document(
    document: Document, template: str = "pages/page.html.j2", **given: object
) -> str:
    """The page as a string; whatever comes from data is escaped, nothing is fetched.

    Args:
        document: what it says.
        template: path of the template below this package; one that extends ``page.html.j2``.
        given: what that one needs besides.
    """
    drawn = {
        name: [(one, _drawn(one)) for one in panels] for name, panels in document.figures.items()
    }
    page = templates.template(template, html=True)
    return page.render(document=document, drawn=drawn, dpi=DPI, nav=[], **given)


def _drawn(panel: Panel) -> dict[str, str]:
    """Theme → the panel in it, a PNG as a data URI."""
    pictures = {theme.name: render((panel,), theme) for theme in THEMES}
    return {
        name: f"data:image/png;base64,{base64.b64encode(png).decode()}"
        for name, png in pictures.items()
    }
