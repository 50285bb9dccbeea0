"""Serving the flows: what has to run for it, and what the Prefect server has to know."""
