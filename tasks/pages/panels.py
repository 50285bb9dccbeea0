"""Figures as panels, drawn as PNG and SVG, and the pages that show them, which need no network."""

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meldflow.tasks.pages import templates, text
from meldflow.tasks.pages.text import Cell
from meldflow.tasks.pages.themes import LIGHT, THEMES, Theme

PANEL = (5.2, 4.5)
"""Width and height of a panel, inches: 10-point text stays readable on a phone."""
WIDE_FROM = 1.5
"""Aspect from which a panel takes the place of two."""
DPI = 160


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a figure."""

    title: str
    alt: str
    """What a reader who does not see it has to know."""
    draw: Callable[[Axes, Theme], None]
    aspect: float = PANEL[0] / PANEL[1]
    """Width over height; from ``WIDE_FROM`` on it takes the page's whole width."""

    @property
    def wide(self) -> bool:
        """Whether it takes the place of two."""
        return self.aspect >= WIDE_FROM

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, inches."""
        width = PANEL[0] * (2 if self.wide else 1)
        return width, width / self.aspect


_UNDATED: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}}
"""What a file leaves out, so that the same panels give the same bytes."""


def render(panels: tuple[Panel, ...], theme: Theme = LIGHT, ending: str = "png") -> bytes:
    """The panels side by side, as PNG or SVG (letters as paths); the same ones, the same bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context(theme.rc(), Path(__file__).with_name("figures.mplstyle")):
        _drawn(panels, theme).savefig(buffer, format=ending, metadata=_UNDATED[ending])
    return buffer.getvalue()


def _drawn(panels: tuple[Panel, ...], theme: Theme) -> Figure:
    widths, heights = zip(*(panel.size for panel in panels), strict=True)
    figure = Figure(figsize=(sum(widths), max(heights)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08, wspace=0.06)  # type: ignore[union-attr,call-arg]
    places = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
    for panel, axes in zip(panels, places, strict=True):
        axes.set_title(panel.title, loc="left")
        panel.draw(axes, theme)
    return figure


def render_document(
    template: str, figures: Mapping[str, tuple[Panel, ...]], **given: object
) -> str:
    """The page as a string; whatever comes from data is escaped, nothing is fetched.

    Args:
        template: path of a template below ``tasks`` that extends ``pages/page.html.j2``.
        figures: name → panels of the figures that the page shows.
        given: what the template needs besides.
    """
    drawn = {name: [(one, _pictures(one)) for one in panels] for name, panels in figures.items()}
    page = templates.template(template, html=True)
    return page.render(drawn=drawn, dpi=DPI, nav=[], Cell=Cell, text=text, **given)


def _pictures(panel: Panel) -> dict[str, str]:
    """Theme → the panel in it, a PNG as a data URI."""
    pictures = {theme.name: base64.b64encode(render((panel,), theme)) for theme in THEMES}
    return {name: f"data:image/png;base64,{png.decode()}" for name, png in pictures.items()}
