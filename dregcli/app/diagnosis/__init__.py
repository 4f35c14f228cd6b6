"""Check the bias and measure the variance of gradient estimators."""
