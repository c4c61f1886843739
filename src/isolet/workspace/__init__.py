"""A project of functions as it is on a developer's disk: its configuration, its sources, and how they reach
a server."""
