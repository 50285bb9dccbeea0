"""A training run: what is fitted, compared and judged, and its result."""
