"""Workflows: their graphs, what their nodes are told to do, and the templates in it. Values and rules only."""
