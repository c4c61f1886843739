"""Isolet's own API under `/isolet/v1`."""
