"""Workflows: what they are, what may start them, and their runs, whose steps are jobs."""
