"""Find the class of a model: the built-in ones, and classes of the user's own with their source code."""
