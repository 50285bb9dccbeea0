"""Extractors, networks, classifiers: science only."""
