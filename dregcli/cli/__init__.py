"""The command line: one thin file a command, one place that prints."""
