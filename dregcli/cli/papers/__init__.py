"""``dreg paper``."""
