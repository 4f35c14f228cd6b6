"""``dreg report``."""
