"""Where stores can lie: one module per kind of place."""
