"""The public Python interface: stores, runs, trained models and training, for scripts and notebooks."""
