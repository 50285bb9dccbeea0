"""Units of work: plain functions, wrapped once where Prefect has to see them."""
