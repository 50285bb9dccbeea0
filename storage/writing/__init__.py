"""Writing: one transaction per run, partition by partition."""
