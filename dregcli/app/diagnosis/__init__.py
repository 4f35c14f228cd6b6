"""Bias and variance of gradient estimators."""
