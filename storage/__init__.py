"""The feature store: everything that knows Zarr or Icechunk."""

from meldflow.storage.reading.snapshot import PartitionReader, Snapshot, open_store

__all__ = ["PartitionReader", "Snapshot", "open_store"]
