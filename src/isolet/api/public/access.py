"""Whose key a call at a public address may have: one in `Authorization: Bearer` or in `X-API-Key`."""

from __future__ import annotations

from isolet.access.callers import Callers
from isolet.access.credentials import Credentials, Source


def callers(credentials: Credentials) -> Callers:
    return Callers(credentials=credentials, sources=(Source.BEARER, Source.API_KEY))
