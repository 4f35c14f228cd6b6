"""Run specs: the definition of a run in words and numbers. No torch."""
