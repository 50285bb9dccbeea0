"""The folder of weights that many machines share and only read, with a folder for each model.

In it lies ``SHA256SUMS`` as well, as ``sha256sum -c`` reads it, of what was fetched.
"""

from pathlib import Path

from meldflow.models.files import digest, write_atomically
from meldflow.models.schema.errors import UsageError
from meldflow.models.weights.sources import PublishedModel

VARIABLE = "MELDFLOW_WEIGHTS"
"""What names it where a run starts; pretrained weights are then looked for nowhere else."""

HOW = (
    f"`meldflow weights fetch FOLDER` on a connected machine fills a folder, which {VARIABLE} names"
)
"""What to do where weights are lacking."""

SUMS = "SHA256SUMS"
RIGHT = "right"


def states(source: PublishedModel, folder: Path) -> dict[Path, str]:
    """File of the model → ``right``, ``missing``, or ``different`` from what was fetched.

    Raises:
        UsageError: one of them cannot be read.
    """
    sums = folder / source.model / SUMS
    try:
        lines = [one.split(maxsplit=1) for one in sums.read_text("utf-8").splitlines()]
        expected = {sums.with_name(name): digits for digits, name in lines}
        if len(expected) != 1 + len(source.beside):
            return {sums: "different"}
        return {
            file: "missing" if not file.exists() else RIGHT if digest(file) == d else "different"
            for file, d in expected.items()
        }
    except (FileNotFoundError, ValueError):
        return {sums: "different" if sums.exists() else "missing"}
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from error


def find_shared(source: PublishedModel, folder: Path) -> Path:
    """The model's weight file, after a look at the bytes of all its files.

    Raises:
        UsageError: one of them is not there, or not what was fetched.
    """
    found = states(source, folder)
    for file, state in found.items():
        if state != RIGHT:
            how = f"to mend it, `meldflow weights fetch {folder}`"
            raise UsageError(f"{source.model}: {file} is {state}; {how}")
    return next(file for file in found if file.name not in source.beside)


def share(source: PublishedModel, file: Path, folder: Path) -> None:
    """Copies a weight file, and what has to lie beside it, into the folder.

    Raises:
        UsageError: the folder cannot be written, or is full; no part of a file stays behind.
    """
    home, lines = folder / source.model, []
    try:
        for one in (file, *(file.with_name(name) for name in source.beside)):
            write_atomically(home / one.name, one.read_bytes())
            lines.append(f"{digest(one)}  {one.name}\n")
        write_atomically(home / SUMS, "".join(lines).encode())
    except OSError as error:
        raise UsageError(f"{home}: {error.strerror or error}") from error
