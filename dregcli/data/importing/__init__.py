"""Imports a user's own file into the data folder; it can then be used like the data sets of the catalogue."""
