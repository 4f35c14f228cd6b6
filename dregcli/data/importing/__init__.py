"""Bring a user's own file into the data folder, so that it is a data set like those of the catalogue."""
