"""Keep house in the store."""
