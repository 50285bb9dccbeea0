"""The published reference network, its inputs and its training."""
