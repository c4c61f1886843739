"""Sessions of people in the dashboard: opened with an API key, kept in the database, ended by anyone who may.

A session's token is random; the database has its HMAC with the server's root key, so that a new root key ends every
session, and whoever reads the database has none. A session can do what its key can, and ends with it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from msgspec.structs import replace

from isolet.clock import Clock
from isolet.database import sessions as stored
from isolet.database.connection import Database
from isolet.domain.access import Principal, Role, digest
from isolet.domain.own_keys import OwnKeys
from isolet.domain.sessions import AGENT_MAX_CHARS, Session
from isolet.errors import NotFound, Unauthenticated
from isolet.ids import new_id
from isolet.routing.routes import Routes

# On a shared database, a session that another server ended is good here for so long.
_KNOWN_MS = 5_000
_KNOWN_MAX = 10_000
# How old the time of the last use in the database may be.
_USED_MS = 60_000
_REDACTED = "[redacted]"


class Sessions:
    def __init__(self, *, database: Database, routes: Routes, clock: Clock, root_key: str) -> None:
        self._database = database
        self._routes = routes
        self._clock = clock
        self._own_keys = OwnKeys(root_key)
        self._secret = hashlib.sha256(b"isolet session\0" + root_key.encode("utf-8", "surrogateescape")).digest()
        self._known: dict[bytes, tuple[Session, int]] = {}

    async def open(self, key: str, agent: str) -> str:
        """The token of a new session. `agent` is the browser, as it calls itself. Raises Unauthenticated."""
        principal = self._routes.principal(key)
        if principal is None:
            raise Unauthenticated("This key is not valid")
        return await self._open(principal, None if principal.is_root else digest(key), agent)

    async def open_root(self, agent: str) -> str:
        """For somebody who proved in another way to be the operator."""
        return await self._open(Principal(role=Role.ADMIN), None, agent)

    async def _open(self, principal: Principal, key_digest: bytes | None, agent: str) -> str:
        token, now_ms = secrets.token_urlsafe(32), self._clock.now_ms()
        if self._own_keys.hold(agent.encode("latin-1", "replace")):
            # Scripts that sign in may say their key there; the list of sessions shows it.
            agent = _REDACTED
        session = Session(
            id=new_id(),
            token_digest=self._digest(token),
            key_id=principal.key_id,
            key_digest=key_digest,
            project_id=principal.project_id,
            agent=agent[:AGENT_MAX_CHARS],
            created_at_ms=now_ms,
            used_at_ms=now_ms,
        )
        await self._database.write(stored.insert_session, session)
        return token

    async def find(self, token: str) -> Session | None:
        """The session of a token, unless it has ended. Using it keeps it."""
        now_ms, given = self._clock.now_ms(), self._digest(token)
        known = self._known.get(given)
        if known is None or now_ms - known[1] >= (_KNOWN_MS if self._database.shared else _USED_MS):
            session = await self._database.read(stored.find_session, given)
            if session is None:
                self._known.pop(given, None)
                return None
            if now_ms - session.used_at_ms >= _USED_MS and session.is_good(now_ms):
                await self._database.write(stored.touch_session, session.id, now_ms)
                session = replace(session, used_at_ms=now_ms)
            self._keep(session, now_ms)
        else:
            session = known[0]
        return session if self.principal(session) is not None else None

    def _keep(self, session: Session, now_ms: int) -> None:
        self._known.pop(session.token_digest, None)
        if len(self._known) >= _KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._known[session.token_digest] = (session, now_ms)

    def principal(self, session: Session) -> Principal | None:
        """Whom a session stands for now: None when it, or its key, is good no more."""
        if not session.is_good(self._clock.now_ms()):
            return None
        if session.key_digest is None:
            return Principal(role=Role.ADMIN)
        return self._routes.principal_of(session.key_digest)

    def is_open(self, session: Session) -> bool:
        """Whether nobody ended it here since it was found."""
        return session.token_digest in self._known

    async def list(self, principal: Principal) -> Sequence[Session]:
        """Those that the principal may end, newest first: a key its own, the root key all."""
        found = await self._database.read(stored.list_sessions, principal.key_id, every=principal.is_root)
        now_ms = self._clock.now_ms()
        return [session for session in found if session.is_good(now_ms)]

    async def end(self, principal: Principal, session_id: str) -> None:
        """Raises NotFound for one that the principal may not end."""
        session = next((one for one in await self.list(principal) if one.id == session_id), None)
        if session is None:
            raise NotFound("Session not found")
        await self._database.write(stored.delete_session, session.id)
        self._known.pop(session.token_digest, None)

    def form_token(self, session: Session) -> str:
        """What each changing request of the session has to carry."""
        return hmac.new(self._secret, b"form\0" + session.token_digest, hashlib.sha256).hexdigest()

    def _digest(self, token: str) -> bytes:
        return hmac.new(self._secret, token.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
