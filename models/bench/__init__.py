"""Benches of what is computed: its limits, and how far methods, precisions and backends agree."""
