"""Fetches the files of a data set from mirrors, packages or folders, checks them and fills the data folder."""
