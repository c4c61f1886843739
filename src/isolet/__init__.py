"""Isolet: a self-hosted functions platform that runs JavaScript functions on workerd."""

__version__ = "0.1.0"
