"""Agents: the model of a project, conversations with it, and the tools that it may call."""
