"""What the terminal shows of a result, as tables or as JSON."""
