"""Benches: what meldflow costs, measured on real processes."""
