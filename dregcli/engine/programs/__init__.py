"""Models as two programs over torch distributions: what a user writes, and how the engine runs it."""
