"""A clip is opened once and decoded: sound, and the frames with the highest entropy."""
