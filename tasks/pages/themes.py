"""Colours and type of the figures, for a light and a dark page.

Emotions take Okabe & Ito's palette (2008), which people with any common colour blindness
can tell apart; on dark, its lighter members replace those that would sink.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb

from meldflow.models.schema.utterances import EMOTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """What a figure's colours are."""

    name: str
    paper: str
    ink: str
    soft: str
    """Labels and ticks."""
    faint: str
    """Lines that must not attract the eye."""
    grid: str
    emotions: tuple[str, ...]
    """In the order of ``meldflow.models.schema.utterances.EMOTIONS``."""
    models: Mapping[str, str]
    modalities: Mapping[str, str]
    """Modality → colour of an area, not of a line."""
    heat: Colormap
    """Tint of a confusion cell, for shares within [0, 1]."""

    def label(self, name: str) -> str:
        """Colour of an emotion or a sentiment; a sentiment takes that of an emotion of its kind."""
        return self.emotions[EMOTIONS.index(_KIN.get(name, name))]

    def on(self, area: Any) -> str:
        """Colour of text that reads well on an area of the colour ``area``."""
        # Where both would have the same contrast.
        return "#12161b" if _luminance(area) > 0.197 else "#ffffff"

    def rc(self) -> dict[Any, Any]:
        """Matplotlib settings that differ from ``figures.mplstyle``, for ``rc_context``."""
        return {
            "axes.facecolor": self.paper,
            "axes.edgecolor": self.faint,
            "axes.labelcolor": self.soft,
            "axes.titlecolor": self.ink,
            "figure.facecolor": self.paper,
            "grid.color": self.grid,
            "text.color": self.ink,
            "xtick.color": self.soft,
            "ytick.color": self.soft,
        }


_KIN = {"positive": "joy", "negative": "anger"}
"""Sentiment → emotion; neutral is both."""


def _luminance(colour: Any) -> float:
    """Relative luminance of a colour, within [0, 1] (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1b1f24",
    soft="#4b5563",
    faint="#9aa3ae",
    grid="#e8ebef",
    emotions=("#4d4d4d", "#e69f00", "#8a5fbf", "#0072b2", "#009e73", "#9c6b1f", "#d0431c"),
    models={"network": "#0b6fb3", "svm": "#d2601a"},
    modalities={"text": "#9cc9e8", "audio": "#f2b48a", "video": "#9fd8c0"},
    heat=LinearSegmentedColormap.from_list("light", ["#f4f7fa", "#9cc9e8", "#0b5c97", "#07395f"]),
)
DARK = Theme(
    name="dark",
    paper="#171b21",
    ink="#e8ebef",
    soft="#b3bcc7",
    faint="#6b7683",
    grid="#2a3039",
    emotions=("#c9ced6", "#f0b429", "#b999e8", "#56b4e9", "#2fc59a", "#c99a5b", "#f0724a"),
    models={"network": "#56b4e9", "svm": "#f0925a"},
    modalities={"text": "#1f5c8a", "audio": "#94501f", "video": "#1d6b53"},
    heat=LinearSegmentedColormap.from_list("dark", ["#1f252d", "#1f5c8a", "#56b4e9", "#bfe3f9"]),
)
THEMES = (LIGHT, DARK)

LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
"""One per line of a figure, so that none is told by its colour alone."""
