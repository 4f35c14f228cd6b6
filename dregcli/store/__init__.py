"""The store of runs: claims, metrics, checkpoints, results, capture. It knows mappings and tensors, never models."""
