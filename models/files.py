"""Files that appear whole or not at all, and what tells one file's bytes from another's."""

import contextlib
import functools
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


def digest(file: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal digits, kept for as long as it is not changed.

    Raises:
        OSError: it cannot be read.
    """
    facts = file.stat()
    return _digest(str(file), facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest(path: str, size: int, mtime_ns: int) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
