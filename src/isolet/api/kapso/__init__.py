"""The Kapso Functions API."""
