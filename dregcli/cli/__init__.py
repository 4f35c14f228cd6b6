"""The command line: one thin file for each command, and one place that prints."""
