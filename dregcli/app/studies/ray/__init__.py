"""Train the runs of a study as tasks of a Ray cluster, one task a run."""
