"""Work in child processes that may crash or hang: clips are decoded there."""
