"""The pictures of a clip and the page that they are on: entropy over time, chosen frames, sound."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from meldflow.models.extractors.grid import FRAME, HOP
from meldflow.models.files import write_atomically
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Missing, Video
from meldflow.tasks.inspection import rows
from meldflow.tasks.inspection.inspect import Inspection
from meldflow.tasks.inspection.rows import why
from meldflow.tasks.pages.panels import PANEL, WIDE_FROM, Panel, render, render_document
from meldflow.tasks.pages.text import readable
from meldflow.tasks.pages.themes import Theme

Drawn: TypeAlias = tuple[Panel, ...] | Missing
"""The panels of a figure, or why there is nothing to draw."""

_BINS = 1500
"""Columns of a waveform: about as many as the picture has pixels."""
_PER_PANEL = 6
"""Frames on a panel: two of them stand side by side, or one below the other."""
_CAPTION = 0.42
"""Height of the two lines below a frame, inches."""
_FINE: Mapping[str, Any] = {"linewidth": 1.3, "markersize": 2.5}
"""A curve of many points, of which a single one is still seen."""
_GAP = 0.03
"""Between two frames, as a share of a frame's width."""


def entropy_figure(found: Inspection) -> Drawn:
    """Entropy of every frame over time, with the chosen frames marked."""
    video = found.media.video
    if isinstance(video, Missing):
        return video

    def draw(axes: Axes, theme: Theme) -> None:
        line, mark = theme.models["network"], theme.models["svm"]
        axes.plot(video.curve_timestamp, video.curve_entropy, color=line, linewidth=1.4)
        low, high = axes.get_ylim()
        axes.vlines(video.timestamp, low, video.entropy, color=mark, linewidth=0.8)
        axes.plot(video.timestamp, video.entropy, "o", color=mark, markeredgecolor=theme.paper)
        axes.ticklabel_format(useOffset=False)
        axes.set(ylim=(max(low, 0), high), ylabel="entropy, bits")
        axes.set_xlabel("seconds of the clip")

    title = f"Entropy: {len(video.index)} of {video.n_frames} frames are chosen"
    lowest, highest = video.curve_entropy.min(), video.curve_entropy.max()
    alt = f"{title}. It lies between {lowest:.2f} and {highest:.2f} bits."
    return (Panel(title, alt, draw, aspect=2.9),)


def contact_sheet(found: Inspection) -> Drawn:
    """The chosen frames two in a row, on panels that a phone shows one below the other."""
    video = found.media.video
    if isinstance(video, Missing):
        return video
    order = range(len(video.index))
    return tuple(_sheet(video, order[begin : begin + _PER_PANEL]) for begin in order[::_PER_PANEL])


def _sheet(video: Video, chosen: Sequence[int]) -> Panel:
    """The ``chosen`` of the kept frames, row by row; a frame's width is one unit."""
    _, height, width, _ = video.frames.shape
    columns = min(2, len(chosen))
    tall, rows = height / width, math.ceil(len(chosen) / columns)
    across = columns * (1 + _GAP) - _GAP
    cell = tall + _CAPTION * across / PANEL[0]

    def draw(axes: Axes, theme: Theme) -> None:
        for place, one in enumerate(chosen):
            row, column = divmod(place, columns)
            left, top = column * (1 + _GAP), row * cell
            below = top + tall + 0.02
            axes.imshow(video.frames[one], extent=(left, left + 1, top + tall, top))
            axes.text(left, below, _caption(video, one), va="top", color=theme.soft)
        axes.set(xlim=(0, across), ylim=(rows * cell, 0), anchor="NW")
        axes.axis("off")

    captions = (_caption(video, one).replace("\n", ": ") for one in chosen)
    narrow = min(across / (rows * cell), WIDE_FROM - 0.01)
    return Panel("", "; ".join(captions), draw, narrow)


def _caption(video: Video, one: int) -> str:
    seconds, bits = video.timestamp[one], video.entropy[one]
    return f"frame {video.index[one]}\n{seconds:.3f} s, {bits:.3f} bits"


def sound_figure(found: Inspection) -> Drawn:
    """Waveform and energy, and the pitch on an axis of its own."""
    audio = found.media.audio
    if isinstance(audio, Missing):
        return audio
    time, low, high = envelope(audio.samples, found.options.sample_rate)
    reach = 1.08 * float(np.abs(audio.samples).max())

    def draw(axes: Axes, theme: Theme) -> None:
        axes.fill_between(time, low, high, color=theme.faint, linewidth=0.4, label="waveform")
        if found.lead:
            axes.axvspan(0, found.lead, color=theme.grid, label="before the sound starts")
        grid, energy = _course(found, "rms")
        axes.plot(grid, energy, ".-", color=theme.models["svm"], **_FINE, label="RMS energy")
        axes.set(xlim=(0, max(time[-1], found.lead)), ylim=(-reach, reach))
        axes.set(xlabel="seconds of the clip", ylabel="share of full scale")
        both = (axes, _pitch_axes(axes, theme, found))
        drawn = [one for part in both for one in part.get_legend_handles_labels()[0]]
        axes.legend(handles=drawn, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4)

    title = "Waveform, energy and pitch"
    return (Panel(title, f"{title} of the decoded sound.", draw, aspect=2.4),)


def _pitch_axes(axes: Axes, theme: Theme, found: Inspection) -> Axes:
    """A second axis on the right with f0; unvoiced stretches are gaps."""
    colour = theme.models["network"]
    right = axes.twinx()
    right.grid(visible=False)
    grid, f0 = _course(found, "f0")
    if np.isnan(f0).all():
        right.set_yticks([])
        right.plot([], [], color=colour, label="no f0: nothing is voiced")
        return right
    right.plot(grid, f0, ".", color=colour, markersize=4.5, label="f0")
    right.set_ylim(0, 1.1 * float(np.nanmax(f0)))
    right.set_ylabel("f0, Hz", color=colour)
    right.tick_params(axis="y", colors=colour)
    return right


def _course(found: Inspection, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Middle of each speech frame, seconds, and the descriptor there; empty where unknown."""
    values = found.descriptors.get(name, np.zeros(0))
    return (np.arange(len(values)) * HOP + FRAME / 2) / found.options.sample_rate, values


def envelope(
    samples: NDArray[np.float32], rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]:
    """Time in seconds, lowest and highest sample of up to 1500 equal stretches of the sound."""
    begins = np.unique(np.linspace(0, samples.size, _BINS, endpoint=False).astype(int))
    low, high = (reduce.reduceat(samples, begins) for reduce in (np.minimum, np.maximum))
    return begins / rate, low, high


FIGURES: Mapping[str, Callable[[Inspection], Drawn]] = {
    "entropy": entropy_figure,
    "frames": contact_sheet,
    "sound": sound_figure,
}
"""Name → the figure, on the page and in a PNG file."""


def panels(name: str, drawn: Drawn) -> tuple[Panel, ...]:
    """The panels of a figure; one that tells the reason where there are none."""
    if not isinstance(drawn, Missing):
        return drawn
    reason = why(drawn)

    def draw(axes: Axes, theme: Theme) -> None:
        axes.axis("off")
        axes.text(0, 1, reason, va="top", wrap=True, color=theme.soft, parse_math=False)

    return (Panel(f"No {name}", reason, draw, aspect=6),)


def check_page(file: Path) -> None:
    """Keeps a page from replacing a file that is none.

    Raises:
        UsageError: the name is not that of a page.
    """
    if file.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html {readable(str(file))}: the page's name must end in .html")


def write(found: Inspection, *, page: Path | None, figures: Path | None) -> tuple[Path, ...]:
    """Writes what is asked for, each file whole or not at all, and gives their paths.

    ``figures`` is the folder of ``entropy.png``, ``frames.png`` and ``sound.png``, made if needed.
    Where a modality is missing, its picture says why, so that one that is there from another clip
    is not taken for it.

    Raises:
        UsageError: they cannot be written there.
    """
    files: dict[Path, bytes] = {}
    if figures is not None:
        for name, draw in FIGURES.items():
            files[figures / f"{name}.png"] = render(panels(name, draw(found)))
    if page is not None:
        files[page] = render_page(found).encode()
    return tuple(_write(file, content) for file, content in files.items())


def render_page(found: Inspection) -> str:
    """The page as a string: styles and pictures inside, nothing fetched."""
    drawn = {name: draw(found) for name, draw in FIGURES.items()}
    return render_document(
        "inspection/inspection.html.j2",
        {name: one for name, one in drawn.items() if not isinstance(one, Missing)},
        found=found,
        name=readable(Path(found.path).name),
        rows=rows,
    )


def _write(file: Path, content: bytes) -> Path:
    try:
        return write_atomically(file, content)
    except OSError as error:
        message = f"{readable(str(file))} cannot be written: {error.strerror}"
        raise UsageError(message) from error
