"""Files that appear whole or not at all, and what tells one file's bytes from another's."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path


def checksum(path: str) -> bytes | None:
    """SHA-256 of a file's bytes; None of what is no file, or cannot be read to its end."""
    with contextlib.suppress(OSError):
        if Path(path).is_file():  # to open a pipe would be to wait for ever
            with Path(path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
    return None


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> Path:
    """Write ``content`` to a temporary neighbour and rename it to ``path``.

    A reader sees the old file or the new one, never a part; nobody sees it before ``mode`` says who
    may. Missing folders are made.

    Raises:
        OSError: the folder cannot be written; no temporary file stays behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
