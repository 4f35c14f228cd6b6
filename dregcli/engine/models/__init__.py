"""Models: the protocol and its implementations."""
