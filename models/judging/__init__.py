"""Judging classifiers: protocols, metrics, the SVM and the records of a result."""
