"""The command line: every command reads its arguments, does one thing, shows what came out.

Heavy libraries are imported inside the commands, so that `--help` answers at once.
"""

import io
import os
import sys

import typer
from pydantic import ValidationError
from rich.markup import escape

# isort: off
# In the order of the help.
from meldflow.flows.cli import data, features, store, training, serve, watch  # noqa: F401

# isort: on
from meldflow.flows.cli.app import app
from meldflow.flows.cli.parameters import spread_reasons
from meldflow.flows.cli.screen.terminal import err
from meldflow.models.schema.errors import MeldflowError


def main() -> None:
    """Runs the command line."""
    answer(app)


def answer(commands: typer.Typer) -> None:
    """Does what the command line asks of ``commands``; what fails as we know ends in one line.

    Exit codes: 0 success, 1 a failed run, 2 wrong usage, 130 stopped by Ctrl-C.
    """
    from meldflow.flows.serving.server import undelivered
    from meldflow.flows.serving.site.settings import (
        ALIVE,
        PATIENT,
        QUIET,
        no_proxy,
        unusable_proxies,
    )
    from meldflow.tasks.cluster.environment import NO_SPINNING, SAFE_PATH

    # Before Prefect and torch are imported anywhere: they read their settings then.
    for name, value in (QUIET | PATIENT | ALIVE | NO_SPINNING | SAFE_PATH).items():
        os.environ.setdefault(name, value)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a screen may know ASCII alone
    os.environ.update(no_proxy())
    for name in unusable_proxies():
        err.print(f"{name}: a SOCKS proxy needs the package socksio; going without", markup=False)
        del os.environ[name]
    sys.argv[1:] = spread_reasons(sys.argv[1:])
    code = _code_of(commands)
    for url in undelivered:
        err.print(f"prefect server {url}: it was away in the end, and lacks a part of this run")
    sys.stdout.flush()
    if undelivered:
        os._exit(code)  # Prefect's threads would try for hours
    sys.exit(code)


def _code_of(commands: typer.Typer) -> int:
    try:
        commands()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except ValidationError as error:
        from meldflow.tasks.options import first_problem

        err.print(f"[bold red]meldflow:[/] {escape(first_problem(error))}", highlight=False)
        return 2
    except MeldflowError as error:
        err.print(f"[bold red]meldflow:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    main()
