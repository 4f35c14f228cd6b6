"""``dreg eval``."""
