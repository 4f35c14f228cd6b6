"""Models: the base class and the classes built on it."""
