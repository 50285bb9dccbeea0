"""What is tried again: a partition after what may pass, a batch that cost workers apart."""

from __future__ import annotations

from distributed.scheduler import KilledWorker
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext

from meldflow.models.schema.errors import MeldflowError
from meldflow.tasks.extraction.hanging import HungError
from meldflow.tasks.extraction.payloads import Stored

RETRIES = 6
"""Tries after the first, 2, 4, 8, 16, 32 and 64 s apart, and up to half as much again: a store or
a network that is away for a minute costs no run."""

COSTLY = (KilledWorker, HungError, MemoryError)
"""What a batch ends in that has a clip too bad for a worker."""


def is_transient(_task: object, _run: TaskRun, state: State[Stored]) -> bool:
    """Whether another try may help: not where we ourselves said what is wrong."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, MeldflowError)


def is_retry() -> bool:
    """Whether the task run that is current here was tried before."""
    context = TaskRunContext.get()
    return context is not None and context.task_run.run_count > 1
