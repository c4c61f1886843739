"""The Altair IoT Studio Functions API."""
