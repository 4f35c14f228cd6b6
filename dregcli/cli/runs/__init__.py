"""``dreg runs``: list and manage the runs of a store. Mostly one file for each command."""
