"""Use cases of projects and their API keys. Knows no HTTP."""

from isolet.projects.service import OF_OPERATOR, Projects

__all__ = ["OF_OPERATOR", "Projects"]
