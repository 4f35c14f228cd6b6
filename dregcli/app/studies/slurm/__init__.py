"""Train the runs of a study on a cluster of SLURM: each run is a task of an array."""
