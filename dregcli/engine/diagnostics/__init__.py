"""Diagnostics of gradient estimators: whether they are biased, and how much they vary."""
