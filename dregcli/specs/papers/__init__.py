"""Published experiments as data: one TOML file each, in this folder or a user's own."""
