"""``dreg train`` and ``dreg finetune-encoder``."""
