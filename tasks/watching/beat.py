"""Something done every few seconds that may fail, or hang, without anybody waiting for it."""

import contextvars
import logging
import threading
from asyncio import CancelledError
from collections.abc import Callable

logger = logging.getLogger("meldflow.watching")


def once(name: str, act: Callable[[], object], timeout: float) -> bool:
    """Does something on a thread of its own, and waits ``timeout`` seconds for it at most.

    Returns:
        whether it came back; where it did not, the thread is left to itself.
    """
    thread = _thread(name, lambda: _try(name, act))
    thread.join(timeout)
    return not thread.is_alive()


class Beat:
    """Calls a function every ``seconds`` on a thread of its own, and once more at the end."""

    def __init__(self, name: str, seconds: float, act: Callable[[], object]) -> None:
        """Starts at once, with the context variables of the caller."""
        self._seconds = seconds
        self._act = act
        self._ended = threading.Event()
        self._name = name
        self._thread = _thread(name, self._run)

    def end(self, timeout: float) -> bool:
        """Asks for the last call and waits for it, ``timeout`` seconds at most.

        Returns:
            whether it came back; where it did not, the thread is left to itself.
        """
        self._ended.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            last = self._ended.is_set()
            _try(self._name, self._act)
            if last:
                return
            self._ended.wait(self._seconds)


def _thread(name: str, run: Callable[[], None]) -> threading.Thread:
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(run), name=f"meldflow-{name}", daemon=True)
    thread.start()
    return thread


def _try(name: str, act: Callable[[], object]) -> None:
    try:
        act()
    except (Exception, CancelledError) as error:
        # Dask cancels what waits for a connection that breaks.
        logger.debug("%s: %s: %s", name, type(error).__name__, error)
