"""The feature store: everything that knows Zarr or Icechunk."""

from storage.partitions import PartitionReader
from storage.read import Snapshot, open_store

__all__ = ["PartitionReader", "Snapshot", "open_store"]
