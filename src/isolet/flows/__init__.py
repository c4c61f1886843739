"""Workflows: what their owners do with them, and their runs."""
