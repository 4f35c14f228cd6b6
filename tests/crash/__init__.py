"""The real command, killed at random moments and resumed, against a run that never stopped."""
