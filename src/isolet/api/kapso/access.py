"""Who may use Kapso's API: an API key in `X-API-Key`, whose project is the one that a request is about."""

from __future__ import annotations

from isolet.access.callers import Callers
from isolet.access.credentials import Credentials, Source
from isolet.access.rules import Access, OfKey
from isolet.domain.access import Role

# The root key acts on `default` where a path names no function.
DEPLOY = Access(Role.DEPLOY, OfKey())
READ = DEPLOY.for_readers()
INVOKE = Access(Role.INVOKE, OfKey())


def callers(credentials: Credentials, *, bearer: bool = False) -> Callers:
    """With `bearer` a key may also come in `Authorization`, as the older base's documentation has it for runs."""
    return Callers(credentials=credentials, sources=(Source.API_KEY, *((Source.BEARER,) if bearer else ())))
