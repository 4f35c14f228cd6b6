"""``dreg sample``."""
