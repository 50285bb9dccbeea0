"""The Prefect server: one of our own, deployments, events, runs."""
