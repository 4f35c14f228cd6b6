"""Figures of groups of runs, a kind a file; ``draw`` makes those that there are data for."""
