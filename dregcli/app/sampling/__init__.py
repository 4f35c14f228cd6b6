"""Make pictures of what a model has learned."""
