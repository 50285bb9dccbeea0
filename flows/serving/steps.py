"""What a Prefect worker does before it starts a flow run."""

import logging
import os
from pathlib import Path

from meldflow.flows import DIRECTORY
from meldflow.models.schema.errors import MeldflowError


def stand_apart(directory: str) -> dict[str, str]:
    """Lets a run start in the empty folder that Prefect made for it.

    Prefect lets Python import whatever lies in the folder where a run starts, and a user's files
    may bear any name. ``meldflow.flows`` goes to ``directory``, which relative paths are meant
    from, as soon as Python has started.

    Raises:
        FileNotFoundError: it is not there, on the machine of the worker.
    """
    os.environ[DIRECTORY] = str(Path(directory).resolve(strict=True))
    return {"directory": str(Path.cwd())}


def in_one_sentence(record: logging.LogRecord) -> bool:
    """Has what fails as we know told in its own words, once, with the traceback below."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, MeldflowError):
        return True
    again = str(record.msg).startswith("Engine execution exited")
    record.msg, record.args = "%s", (error,)
    return not again
