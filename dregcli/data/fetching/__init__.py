"""From mirrors, packages and folders to files that passed their checks, and into the data folder."""
