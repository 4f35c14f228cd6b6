"""Models: the base class and what is built on it."""
