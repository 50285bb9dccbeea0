"""The audit: everything amiss in a data set, and its page."""
