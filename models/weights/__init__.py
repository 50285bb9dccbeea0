"""Weights: which models are published, where theirs are found, how they are loaded."""
