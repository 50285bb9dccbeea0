"""Keys of the artifacts of an extraction in the Prefect UI."""

PROGRESS = "extract-progress"
WORKERS = "extract-workers"
FAILURES = "extract-failures"
FAILED = "extract-failed-utterances"
REPORT = "extract-report"
DASHBOARD = "dask-dashboard"
