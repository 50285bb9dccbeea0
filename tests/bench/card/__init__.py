"""What a GPU does for an extraction, and whether its features are those of a CPU."""
