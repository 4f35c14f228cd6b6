"""Figures of groups of runs, one file per kind of figure; ``draw`` makes all figures that have data."""
