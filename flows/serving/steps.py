"""What a Prefect worker does before it starts a flow run."""

from __future__ import annotations

import os
from pathlib import Path

from meldflow.flows import DIRECTORY


def stand_apart(directory: str) -> dict[str, str]:
    """Lets a run start in the empty folder that Prefect made for it.

    Prefect lets Python import whatever lies in the folder where a run starts, and a user's files
    may bear any name. ``meldflow.flows`` goes to ``directory`` as soon as Python has started.

    Args:
        directory: the folder that relative paths are meant from.

    Raises:
        FileNotFoundError: it is not there, on the machine of the worker.
    """
    os.environ[DIRECTORY] = str(Path(directory).resolve(strict=True))
    return {"directory": str(Path.cwd())}
