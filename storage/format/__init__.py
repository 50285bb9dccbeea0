"""The layout of a store: groups, columns, arrays and tables."""
