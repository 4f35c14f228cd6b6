"""Stores that must stay readable, each with the script that wrote it."""

from pathlib import Path

PRESENT = Path(__file__).parent / "format-2"
"""The store of the format that this program writes."""
