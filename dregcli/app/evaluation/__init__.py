"""Estimate log-likelihoods of a trained model."""
