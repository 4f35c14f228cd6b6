"""Data sets: download, import, show, remove."""
