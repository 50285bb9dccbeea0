"""Writes what is known of a clip: one HTML page that needs no network, or its figures as PNG."""

from pathlib import Path

from meldflow.models.files import write_atomically
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Missing
from meldflow.tasks.inspection import rows
from meldflow.tasks.inspection.figures import FIGURES, FILES, panels
from meldflow.tasks.inspection.inspect import Inspection
from meldflow.tasks.pages.document import render_document
from meldflow.tasks.pages.panels import render
from meldflow.tasks.pages.text import readable


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
        for name, draw in FILES.items():
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
