"""librosa's compiled functions, shared between processes without harm.

librosa lets Numba cache what it compiles beside its own source. After two workers had started
at once on a fresh installation, that cache was broken: ``librosa.yin`` called a null pointer in
every later process. The likely cause, not reproduced on demand, is that both compiled the same
function and left an index of the one beside the code of the other. Compiling takes 20 s, too
long to do it anew in every worker. So a process works in a folder of its own: it starts from a
copy of what an earlier one published, and publishes what it compiled if nobody has yet. What is
published never changes. Of processes that start at once, the first compiles and the others wait.
"""

import atexit
import contextlib
import fcntl
import functools
import hashlib
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs


@contextlib.contextmanager
def compiling(what: str) -> Iterator[None]:
    """Compile inside; enter it before librosa is first imported.

    Args:
        what: names the functions that are compiled inside; another set has another name.
    """
    own, published = _own_folder(), _published(what)
    with contextlib.ExitStack() as alone:
        if not published.is_dir():
            # Where nothing can be written or locked, nothing is shared. Who ends lets go of it.
            with contextlib.suppress(OSError):
                published.parent.mkdir(parents=True, exist_ok=True)
                file = alone.enter_context(published.with_suffix(".lock").open("w"))
                fcntl.flock(file, fcntl.LOCK_EX)
        if published.is_dir():
            alone.close()
            shutil.copytree(published, own, dirs_exist_ok=True)
        yield
        if not published.is_dir():
            _publish(own, published)


@functools.cache
def _own_folder() -> Path:
    """This process's folder, which goes when the process ends."""
    from numba.core import config

    settings: Any = config  # its values are set by name when it is imported
    folder = tempfile.mkdtemp(prefix="meldflow-numba-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    settings.CACHE_DIR = folder
    return Path(folder)


def _published(what: str) -> Path:
    """Where the functions are published that this installation compiles on this machine."""
    spec = find_spec("librosa")
    source = Path(spec.origin) if spec is not None and spec.origin else Path()
    facts = (
        *(version(name) for name in ("librosa", "numba", "numpy")),
        platform.python_version(),
        platform.node(),
        source,
        source.stat().st_mtime_ns,
        what,
    )
    name = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    return platformdirs.user_cache_path("meldflow") / "numba" / name


def _publish(own: Path, published: Path) -> None:
    """Appears whole or not at all; whoever comes second changes nothing."""
    # Not being able to publish costs the next process its 20 s, and nothing else.
    with contextlib.suppress(OSError):
        published.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=published.parent))
        try:
            shutil.copytree(own, draft, dirs_exist_ok=True)
            draft.rename(published)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
