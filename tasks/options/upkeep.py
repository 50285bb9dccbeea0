"""Parameters of the flows that look after data sets and stores."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from meldflow.tasks.options.fields import DATASET, FIXES, Cli, FilePath, Options, store_field


class AuditOptions(Options):
    """What to audit, and how deep."""

    dataset: Annotated[FilePath, Cli(argument=True, path=True)] = Field(
        title="Data set", description=DATASET
    )
    annotations_only: bool = False
    """Leave the clips alone."""
    fixes: bool = FIXES


class MaintainOptions(Options):
    """What to forget."""

    store: Annotated[str, Cli(argument=True)] = store_field()
    older_than_days: Annotated[float, Cli(flags=("--older-than",))] = Field(
        30.0, ge=0, title="Age (days)"
    )
    """Age of the states and unused objects to forget."""
    dry_run: bool = False
    """Tell what is unused already, without what only old states need; change nothing."""


class PollOptions(Options):
    """What to look at."""

    dataset: Annotated[FilePath, Cli(argument=True, path=True)] = Field(
        title="Data set", description=f"What may have changed. {DATASET}"
    )
    store: str = ""
    """The store that a change is extracted to; by default that of the deployment which is
    started."""
