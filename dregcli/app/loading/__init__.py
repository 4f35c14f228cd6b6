"""Load a stored run as engine objects."""
