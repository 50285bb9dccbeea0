"""Reading: a pinned snapshot, as arrays, as xarray, as partitions."""
