"""A report as one HTML page that needs no network: styles and pictures are inside."""

import base64
from collections.abc import Mapping

from meldflow.tasks.pages import templates, text
from meldflow.tasks.pages.panels import DPI, Panel, render
from meldflow.tasks.pages.text import Cell
from meldflow.tasks.pages.themes import THEMES


def render_document(
    template: str, figures: Mapping[str, tuple[Panel, ...]], **given: object
) -> str:
    """The page as a string; whatever comes from data is escaped, nothing is fetched.

    Args:
        template: path of a template below ``tasks`` that extends ``pages/page.html.j2``.
        figures: name → panels of the figures that the page shows.
        given: what the template needs besides.
    """
    drawn = {name: [(one, _drawn(one)) for one in panels] for name, panels in figures.items()}
    page = templates.template(template, html=True)
    return page.render(drawn=drawn, dpi=DPI, nav=[], Cell=Cell, text=text, **given)


def _drawn(panel: Panel) -> dict[str, str]:
    """Theme → the panel in it, a PNG as a data URI."""
    pictures = {theme.name: base64.b64encode(render((panel,), theme)) for theme in THEMES}
    return {name: f"data:image/png;base64,{png.decode()}" for name, png in pictures.items()}
