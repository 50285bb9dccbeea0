"""Prefect flows, and the command line: orchestration only."""

import logging
import os

DIRECTORY = "MELDFLOW_DIRECTORY"
"""Names the folder that a run of a Prefect worker's means relative paths from."""

if directory := os.environ.get(DIRECTORY):
    os.chdir(directory)
    # A run is Cancelled when it has ended. Prefect would have that told by the process that started
    # it, which looks every three seconds and imports the flow once more.
    os.environ["PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS"] = "true"
    from meldflow.flows.serving.steps import in_one_sentence

    logging.getLogger("prefect.flow_runs").addFilter(in_one_sentence)
