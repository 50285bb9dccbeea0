"""Extraction: a partition goes through its stages, and its run is committed."""
