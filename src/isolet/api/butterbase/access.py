"""Who may use Butterbase's API: its credentials, and the app in the path."""

from __future__ import annotations

from msgspec import Struct

from isolet.access.callers import Callers
from isolet.access.credentials import Credentials, Source, api_key, bearer
from isolet.access.rules import Access, Asked, Found
from isolet.api.butterbase.errors import invalid_key, invalid_token
from isolet.domain.access import KEY_PREFIX, Role
from isolet.domain.projects import Project
from isolet.errors import NotFound, Unauthenticated
from isolet.routing.routes import Routes
from isolet.wire.channel import Headers

# What the service's own keys begin with.
_THEIR_KEY_PREFIX = "bb_"


class App(Struct, frozen=True, kw_only=True):
    """A project by its slug or its id in the path."""

    missing: str = "App not found"

    @property
    def path(self) -> tuple[str, ...]:
        return ("app_id",)

    @property
    def query(self) -> tuple[str, ...]:
        return ()

    async def find(self, asked: Asked) -> Found:
        project = find_project(asked.routes, asked.path["app_id"])
        if project is None:
            raise NotFound(self.missing)
        return Found(project=project)


INVOKE = Access(Role.INVOKE, App())
DEPLOY = Access(Role.DEPLOY, App())
READ = DEPLOY.for_readers()


def callers(credentials: Credentials) -> Callers:
    """`Authorization: Bearer` with a key, or `X-API-Key`."""
    return Callers(credentials=credentials, sources=(Source.BEARER, Source.API_KEY), refused=_refused)


def find_project(routes: Routes, app_id: str) -> Project | None:
    """A project by its slug, else by its id."""
    return routes.project(app_id) or routes.project_of(app_id.lower())


def _refused(headers: Headers) -> Exception:
    token, key = bearer(headers), api_key(headers)
    if not token and not key:
        return Unauthenticated("Authentication required")
    if key or (token or "").startswith((_THEIR_KEY_PREFIX, KEY_PREFIX)):
        return invalid_key()
    return invalid_token()
