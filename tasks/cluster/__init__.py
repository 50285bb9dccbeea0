"""The kinds of Dask cluster that can do the work, one module each, chosen by a profile."""
