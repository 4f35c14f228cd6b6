"""Run specs: what a run is, in words and numbers. No torch."""
