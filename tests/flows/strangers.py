"""A folder whose files bear our names, Prefect's and Dask's: nothing of it may be imported."""

from __future__ import annotations

import os
from pathlib import Path

from tests.paths import ROOT

STRANGERS = (
    *("models/__init__.py", "flows/__init__.py", "tasks.py", "storage.py", "deploy.py", "tests.py"),
    *("meldflow.py", "prefect.py", "dask.py", "distributed.py", "h2.py", "json.py", "numpy.py"),
    *("mlflow.py", "sitecustomize.py", "usercustomize.py"),
)
LINE = "open({log!r}, 'a').write(__file__ + chr(10))\nraise SystemExit('a stranger')\n"


def settle(folder: Path) -> Path:
    """Puts the files there; gives the file that says which of them were imported."""
    log = folder / "imported"
    for name in STRANGERS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(LINE.format(log=str(log)))
    return log


def environment() -> dict[str, str]:
    """What a user has: nothing of ours is set, nor of this checkout's tests."""
    ours = ("PREFECT_", "DASK_", "PYTHONSAFEPATH")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return inherited | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
