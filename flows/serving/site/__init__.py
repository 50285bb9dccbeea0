"""Services of one machine, the Prefect server above all, and who looks after them."""
