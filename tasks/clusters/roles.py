"""The roles that workers offer as Dask resources."""

from __future__ import annotations

ROLES = ("cpu", "model")
"""``cpu`` decodes and computes descriptors, ``model`` runs the networks: roles, not hardware, so
that the flow's code does not change with the cluster."""
