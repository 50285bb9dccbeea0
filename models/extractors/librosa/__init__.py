"""``audio/librosa``: acoustic descriptors."""
