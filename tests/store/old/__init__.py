"""Stores as older versions of this program wrote them, each with the script that did."""
