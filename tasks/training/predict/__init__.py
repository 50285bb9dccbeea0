"""One clip and its words, classified by a trained model."""
