"""Commands about gradient estimators."""
