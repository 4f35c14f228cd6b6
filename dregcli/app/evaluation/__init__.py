"""Log-likelihoods of a trained model."""
