"""Image encoders on the chosen frames."""
