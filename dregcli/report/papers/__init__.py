"""Published experiments: their figures drawn from our runs, and the published numbers beside ours."""
