"""Parameters of the flows that look after data sets and stores."""

from typing import Annotated

from pydantic import Field

from meldflow.tasks.options.fields import FIXES, Cli, DataSet, Options, store_field


class AuditOptions(DataSet):
    """What to audit, and how deep."""

    annotations_only: bool = False
    """Leave the clips alone."""
    fixes: bool = FIXES


class MaintainOptions(Options):
    """What to forget."""

    store: Annotated[str, Cli(argument=True, path=True)] = store_field()
    older_than_days: Annotated[float, Cli(flags=("--older-than",))] = Field(
        30.0, ge=0, title="Age (days)"
    )
    """Age of the states and unused objects to forget."""
    dry_run: bool = False
    """Tell what is unused already, without what only old states need; change nothing."""


class PollOptions(DataSet):
    """What to look at."""

    store: Annotated[str, Cli(path=True)] = ""
    """The store that a change is extracted to; by default that of the deployment which is
    started."""
