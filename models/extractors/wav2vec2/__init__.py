"""``audio/wav2vec2``: wav2vec 2.0, exact in batches."""
