"""Whom the tokens of end users stand for."""
