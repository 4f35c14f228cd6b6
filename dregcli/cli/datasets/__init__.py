"""``dreg data`` and ``dreg download``."""
