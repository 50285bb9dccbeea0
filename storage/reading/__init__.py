"""Reading: a pinned snapshot, as arrays, as xarray, as partitions; what is missing or stale."""
