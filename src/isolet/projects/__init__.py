"""Use cases of projects and their API keys. Knows no HTTP."""

from isolet.projects.service import Projects

__all__ = ["Projects"]
