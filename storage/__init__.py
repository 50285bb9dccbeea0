"""The feature store: everything that knows Zarr or Icechunk."""

from storage.read import Snapshot, open_store

__all__ = ["Snapshot", "open_store"]
