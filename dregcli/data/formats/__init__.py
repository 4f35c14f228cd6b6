"""Strict, bounded readers of the files in which data are published."""
