"""Writes what is known of a clip: one HTML page that needs no network, or its figures as PNG."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from meldflow.models.files import write_atomically
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Missing
from meldflow.tasks.inspection import words
from meldflow.tasks.inspection.cautions import cautions
from meldflow.tasks.inspection.figures import FIGURES, FILES, Drawn, panels
from meldflow.tasks.inspection.record import Inspection
from meldflow.tasks.pages.blocks import Block, Facts, Folded, Pictures, Row, Section, Table, Text
from meldflow.tasks.pages.document import Document, Note, render_document
from meldflow.tasks.pages.panels import render


def check_page(file: Path) -> None:
    """Keeps a page from replacing a file that is none.

    Raises:
        UsageError: the name is not that of a page.
    """
    if file.suffix.lower() not in (".html", ".htm"):
        shown = words.readable(str(file))
        raise UsageError(f"--html {shown}: the page's name must end in .html")


def write(found: Inspection, *, page: Path | None, figures: Path | None) -> tuple[Path, ...]:
    """Writes what is asked for, each file whole or not at all, and gives their paths.

    Args:
        found: what is known of the clip.
        page: where the page goes.
        figures: the folder of ``entropy.png``, ``frames.png`` and ``sound.png``, which is made
            if needed. Where a modality is missing, its picture says why, so that one that is
            there from another clip is not taken for it.

    Raises:
        UsageError: they cannot be written there.
    """
    files: dict[Path, bytes] = {}
    if figures is not None:
        for name, draw in FILES.items():
            files[figures / f"{name}.png"] = render(panels(name, draw(found)))
    if page is not None:
        files[page] = render_page(found).encode()
    return tuple(_write(file, content) for file, content in files.items())


def render_page(found: Inspection) -> str:
    """The page as a string: styles and pictures inside, nothing fetched."""
    drawn = {name: draw(found) for name, draw in FIGURES.items()}
    name = words.readable(Path(found.path).name)
    return render_document(
        Document(
            eyebrow=f"one clip · {name}",
            title=words.title(found),
            notes=tuple(Note(text=one) for one in cautions(found)),
            sections={
                "frames": _frames(found, drawn),
                "sound": _sound(drawn["sound"]),
                "streams": _streams(found),
                "features": _features(found),
            },
            figures={name: one for name, one in drawn.items() if not isinstance(one, Missing)},
        )
    )


def _frames(found: Inspection, drawn: dict[str, Drawn]) -> Section:
    title = "Frames"
    video = found.media.video
    if isinstance(video, Missing):
        return Section(title=title, blocks=(Text(text=words.why(video)),))
    table = Table(
        caption="The chosen frames, in time order",
        head=words.CHOSEN_HEAD,
        rows=words.chosen_rows(video),
    )
    return Section(
        title=title,
        lead="Every frame is scored by the Shannon entropy of its luma histogram. Those with the "
        "highest go to the network, upright and with square pixels, as they are shown here.",
        blocks=(
            Pictures(figure="entropy"),
            Pictures(figure="frames"),
            Folded(summary="As a table", blocks=(table,)),
        ),
    )


def _sound(drawn: Drawn) -> Section:
    title = "Sound"
    if isinstance(drawn, Missing):
        return Section(title=title, blocks=(Text(text=words.why(drawn)),))
    return Section(
        title=title,
        lead="Mono, as the extractors get it. Where f0 has a gap, nothing is voiced.",
        blocks=(Pictures(figure="sound"),),
    )


def _streams(found: Inspection) -> Section:
    return Section(
        title="Streams",
        lead="What the header declares, and what decoding showed.",
        blocks=tuple(_facts(found)),
    )


def _facts(found: Inspection) -> Iterator[Block]:
    yield Facts(title="File", facts=words.container_rows(found))
    yield Facts(title="What came out", facts=words.modality_rows(found))
    for title, facts in (
        ("Audio stream", words.audio_rows(found.audio_facts)),
        ("Video stream", words.video_rows(found.video_facts)),
    ):
        yield Facts(title=title, facts=facts) if facts else Text(text=f"{title}: none.")


def _features(found: Inspection) -> Section:
    rows: tuple[Row, ...] = words.feature_rows(found)
    table = Table(
        caption="Arrays that the extractors give for this clip",
        head=words.FEATURE_HEAD,
        rows=rows,
        style="words",
    )
    return Section(
        title="Features",
        lead="No network was loaded: shapes follow from what was decoded.",
        blocks=(table,),
    )


def _write(file: Path, content: bytes) -> Path:
    try:
        return write_atomically(file, content)
    except OSError as error:
        shown = words.readable(str(file))
        raise UsageError(f"{shown} cannot be written: {error.strerror}") from error
