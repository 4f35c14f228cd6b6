"""Strict readers, with size limits, for the file formats in which data are published."""
