"""A stored run as engine objects again."""
