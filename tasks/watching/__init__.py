"""What a person sees of a run: artifacts in the Prefect UI, metrics, the load of the workers.

It only watches. Everything here that talks to Prefect or to Dask does so on a thread of its own,
with short time limits, and is skipped when it fails.
"""
