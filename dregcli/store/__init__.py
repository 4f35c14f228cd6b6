"""The runs directory: claim, metrics, checkpoints, results, capture. Sees mappings and tensors, never models."""
