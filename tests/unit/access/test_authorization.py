"""What is still allowed while a request goes on."""

from __future__ import annotations

from typing import Any, cast

import pytest

from isolet.access.authorization import Authorizer
from isolet.access.callers import Callers
from isolet.access.credentials import Credentials, Source
from isolet.access.rules import Access, PathSlug
from isolet.domain.access import Key, Role, digest
from isolet.domain.changes import KeyDeleted, ProjectDeleted
from isolet.domain.projects import Project
from isolet.ids import KeyId, ProjectId
from isolet.routing.routes import Routes

DEFAULT = Project(id=ProjectId("p0"), slug="default", name="default")
OWN = Project(id=ProjectId("p1"), slug="own", name="own")
KEY = Key(id=KeyId("k"), project_id=OWN.id, name="k", role=Role.DEPLOY, digest=digest("isk_own"), created_at_ms=0)


@pytest.mark.parametrize(
    ("key", "change", "still"),
    [
        ("root", None, True),
        ("isk_own", None, True),
        ("isk_own", KeyDeleted(key_id=KEY.id), False),
        ("isk_own", ProjectDeleted(project=OWN), False),
        ("root", ProjectDeleted(project=OWN), False),
    ],
)
async def test_a_request_goes_on_while_its_key_and_its_project_exist(key: str, change: Any, still: bool) -> None:
    routes = Routes("root")
    routes.load(functions=[], projects=[DEFAULT, OWN], keys=[KEY])
    nothing = cast(Any, None)
    callers = Callers(credentials=Credentials(routes, nothing), sources=(Source.API_KEY,))
    authorizer = Authorizer(callers, routes, nothing, nothing)
    scope = {"headers": [(b"x-api-key", key.encode())]}
    grant = await authorizer.check(Access(Role.DEPLOY, PathSlug()), scope, path={"slug": "own"}, query={})

    if change is not None:
        routes.follow(change)

    assert authorizer.still(grant, scope) == still
