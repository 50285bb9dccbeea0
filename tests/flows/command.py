"""The command line as a user runs it: a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from unittest import mock

import pytest

NOTHING: Mapping[str, str] = MappingProxyType({})

MELDFLOW = (str(Path(sys.executable).with_name("meldflow")),)

# Not the full `pretrained`: the networks' real weights need a download.
RANDOM = ("--weights", "random", "--weights", "text/minilm=pretrained")


def start(
    *arguments: str | Path, cwd: Path, api: str | None = None, prefect: Mapping[str, str] = NOTHING
) -> subprocess.Popen[str]:
    """Starts a command; its output is collected.

    Args:
        arguments: what is typed.
        cwd: where.
        api: the Prefect server to use.
        prefect: variables of Prefect's, instead of those of this process.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    if api is not None:
        environment["PREFECT_API_URL"] = api
    return subprocess.Popen(
        [*MELDFLOW, *map(str, arguments)],
        cwd=cwd,
        env={**environment, **prefect, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    *arguments: str | Path,
    cwd: Path,
    code: int = 0,
    api: str | None = None,
    prefect: Mapping[str, str] = NOTHING,
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end and checks its exit code; see ``start``."""
    process = start(*arguments, cwd=cwd, api=api, prefect=prefect)
    out, err = process.communicate(timeout=540)
    assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def here(
    *arguments: str | Path, cwd: Path, code: int = 0, api: str | None = None
) -> subprocess.CompletedProcess[str]:
    """``run`` in this process, without the seconds that imports take; for what starts no flow."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from meldflow.flows.cli.main import main

    given = [str(one) for one in arguments]
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, {"COLUMNS": "200"}),
        mock.patch.object(sys, "argv", ["meldflow", *given]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        temporary_settings({PREFECT_API_URL: api}),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    said = (out.getvalue(), err.getvalue())
    assert ended.value.code == code, f"exit {ended.value.code}\n{said[0]}\n{said[1]}"
    return subprocess.CompletedProcess(["meldflow", *given], code, *said)
