"""Published experiments: run them, draw their figures from our runs, and hold published numbers beside ours."""
