"""The one reader of credentials: the headers of a request to the principal that it acts as.

A door says which sources its dialect has, in the order in which they count; the first good one is who asks, so that a
bad one beside it changes nothing. It knows no requests, no dialects and no errors of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from isolet.access.lent_keys import LentKeys
from isolet.domain.access import Principal
from isolet.errors import Unauthenticated
from isolet.ids import KeyId
from isolet.projects.tokens import Tokens
from isolet.routing.routes import Routes
from isolet.wire.channel import Headers
from isolet.wire.headers import get


class Source(Enum):
    """Where a credential may be: `TOKEN` is an OAuth access token as bearer, the others are API keys."""

    API_KEY = "the X-API-Key header"
    BEARER = "Authorization: Bearer"
    TOKEN = "an access token in Authorization: Bearer"  # noqa: S105


Sources = tuple[Source, ...]
# Looking a member up costs as much as reading a header.
_API_KEY, _TOKEN = Source.API_KEY, Source.TOKEN


class Credentials:
    """`on_use` hears of each request with a project's key. `lent` are the keys of the dashboard's own requests."""

    def __init__(
        self,
        routes: Routes,
        tokens: Tokens,
        *,
        lent: LentKeys | None = None,
        on_use: Callable[[KeyId], None] = lambda _: None,
    ) -> None:
        self._lent = lent or LentKeys()
        self._routes = routes
        self._tokens = tokens
        self._on_use = on_use

    def find(self, headers: Headers, sources: Sources) -> Principal | None:
        """Who asks; None without a good credential in one of the sources."""
        for source in sources:
            if (given := _given(headers, source)) and (principal := self._read(given, source)) is not None:
                if principal.key_id is not None:
                    self._on_use(principal.key_id)
                return principal
        return None

    def require(self, headers: Headers, sources: Sources) -> Principal:
        """Raises Unauthenticated for no credential and for one that nobody issued."""
        principal = self.find(headers, sources)
        if principal is not None:
            return principal
        given = any(_given(headers, source) for source in sources)
        raise Unauthenticated("API key is not valid" if given else "API key is missing")

    def of_key(self, key: str) -> Principal | None:
        """Who an API key stands for that came in another way than in a header."""
        return self._routes.principal(key)

    def is_known(self, text: str) -> bool:
        """Whether a text is a key or a token that is good now."""
        return self._routes.principal(text) is not None or self._tokens.key_digest(text) is not None

    def _read(self, given: str, source: Source) -> Principal | None:
        if source is not _TOKEN:
            return self._routes.principal(given) or self._lent.principal(given)
        digest = self._tokens.key_digest(given)
        return self._routes.principal_of(digest) if digest is not None else None


def api_key(headers: Headers) -> str | None:
    """The `X-API-Key` header."""
    value = get(headers, b"x-api-key")
    return _text(value).strip() if value is not None else None


def bearer(headers: Headers) -> str | None:
    """The token of an `Authorization: Bearer` header."""
    value = get(headers, b"authorization")
    if value is None:
        return None
    scheme, _, token = _text(value).partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _text(value: bytes) -> str:
    """A root key may be any text: terminals send it in UTF-8, libraries and pages in Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _given(headers: Headers, source: Source) -> str | None:
    return api_key(headers) if source is _API_KEY else bearer(headers)
