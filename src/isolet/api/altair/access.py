"""Who may use Altair's API: its credentials, and the space in the path."""

from __future__ import annotations

from isolet.access.callers import Callers
from isolet.access.credentials import Credentials, Source
from isolet.access.rules import Access, PathSlug
from isolet.domain.access import Role

# Calls of functions tell of a space that the caller does not see as of a function that is not there.
INVOKE = Access(Role.INVOKE, PathSlug(parameter="space", missing="function not found"))
DEPLOY = Access(Role.DEPLOY, PathSlug(parameter="space", missing="space not found"))
READ = DEPLOY.for_readers()


def callers(credentials: Credentials) -> Callers:
    """`Authorization: Bearer` with an access token or a key, or `X-API-Key`."""
    return Callers(credentials=credentials, sources=(Source.TOKEN, Source.API_KEY, Source.BEARER))
