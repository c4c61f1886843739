"""The `isolet` command: one file per group of commands."""
