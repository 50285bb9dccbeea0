"""The networks that a worker process has loaded."""

import logging
import threading
from collections import defaultdict

from distributed import Worker, get_worker

from meldflow.models.extractors.contract import Extractor
from meldflow.models.running.hardware import is_out_of_memory, release_memory
from meldflow.models.schema.errors import RunError
from meldflow.tasks.extraction.failures import cause, may_pass

KEPT = 2
"""Networks of one name that stay loaded: two runs on the same workers reload no other's."""

logger = logging.getLogger("meldflow.stages")

_READY: defaultdict[str, list[tuple[tuple[Extractor, str], Extractor]]] = defaultdict(list)
"""Name → what was asked for, and the same ready, for those used last; the newest at the end."""

_LOADING = threading.Lock()

UNDER_WAY: set[str] = set()
"""Names of what is being loaded."""


def set_up(extractor: Extractor, device: str) -> Extractor:
    """The extractor with its weights loaded.

    The last ``KEPT`` of each name are kept, so that a worker needs no more memory however many
    runs it serves; one, where memory is short.

    Raises:
        RunError: it cannot be loaded, now or later.
    """
    wanted = (extractor, device)
    with _LOADING:
        known = _READY[extractor.spec.name]
        found = next((one for one in known if one[0] == wanted), None)
        if found is None:
            if _is_short():
                make_room()
                known.clear()
            del known[: 1 - KEPT]  # no more in memory while it loads
            logger.info("loading %s on %s", extractor.spec.key, device)
            found = (wanted, _loaded(extractor, device))
            release_memory()
        known[:] = [*(one for one in known if one is not found), found]
        return found[1]


def make_room() -> None:
    """Gives up all that only another run may need again."""
    for known in _READY.values():
        del known[:-1]
    release_memory()


def give_way() -> None:
    """Gives up every network where memory is short for something else."""
    with _LOADING:
        if _is_short():
            _READY.clear()
            release_memory()


def memory_limit() -> int:
    """Bytes that this worker may take; 0 where it has no limit, or is none."""
    worker = _worker()
    return int(worker.memory_manager.memory_limit or 0) if worker else 0


def _is_short() -> bool:
    """Whether one network more might cost the worker: Dask pauses, then ends, what is full."""
    worker, limit = _worker(), memory_limit()
    return bool(worker and limit and worker.monitor.get_process_memory() > limit / 2)


def _loaded(extractor: Extractor, device: str) -> Extractor:
    UNDER_WAY.add(extractor.spec.name)
    try:
        return extractor.setup(device)
    except Exception as error:
        if is_out_of_memory(error):
            _READY.clear()  # the next try may fit
            raise MemoryError(cause(error)) from error
        if may_pass(error):
            raise
        worker = _worker()
        where = f"worker {worker.name} at {worker.address}" if worker else "a worker"
        name = extractor.spec.name
        raise RunError(f"{name} does not load on {where}: {cause(error)}") from error
    finally:
        UNDER_WAY.clear()


def _worker() -> Worker | None:
    try:
        return get_worker()
    except ValueError:  # a child of one, or a test
        return None
