"""Prefect's command line, for a server that knows whether the path in a form is there.

It runs on the machine, and in the folder, where flow runs start: what it sees, they see.
"""

import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import (  # type: ignore[import-untyped]
    Draft202012Validator,
    ValidationError,
)

from meldflow.tasks.options.allowed import refusal
from meldflow.tasks.options.fields import THERE


def missing(_: object, wanted: bool, line: Any, field: Mapping[str, Any]) -> Iterator[Exception]:
    """What is wrong with a line of a form that has to be empty, or a path that is there."""
    if not wanted or not isinstance(line, str) or not line:
        return
    if why := refusal(line):  # not a word on whether it is there
        yield ValidationError(f"{field['title']}: {why}")
    elif not Path(line).expanduser().exists():
        yield ValidationError(f"{field['title']}: {line} does not exist")


if __name__ == "__main__":
    # Before Prefect makes its own validator of it.
    Draft202012Validator.VALIDATORS[THERE] = missing
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
