"""Isolet's own API under `/isolet/v1`."""

PREFIX = "/isolet/v1"
