"""One clip, looked into: what an extraction would see of it, as records, words and pictures."""
