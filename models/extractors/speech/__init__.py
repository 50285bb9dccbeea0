"""Speech encoders, exact in batches."""
