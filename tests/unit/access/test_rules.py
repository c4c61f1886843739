"""What rows of access say: roles, roles that may besides, the wider role, and where a key's project comes from."""

from __future__ import annotations

from typing import Any, cast

import pytest

from isolet.access.rules import Access, Asked, Found, Grant, OfKey, PathSlug
from isolet.domain.access import Key, Principal, Role
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.errors import Forbidden, NotFound
from isolet.ids import FunctionId, KeyId, ProjectId
from isolet.routing.routes import Routes

DEFAULT = Project(id=ProjectId("p0"), slug="default", name="default")
OWN = Project(id=ProjectId("p1"), slug="own", name="own")
OTHER = Project(id=ProjectId("p2"), slug="other", name="other")
FUNCTION = Function(id=FunctionId("f2"), project_id=OTHER.id, name="f", slug="f", code="")
ROOT = Principal(role=Role.ADMIN)


def principal(role: Role) -> Principal:
    return Principal(role=role, key_id=KeyId("k"), project_id=OWN.id)


async def found(source: OfKey | PathSlug, who: Principal, **parameters: str) -> Project | None:
    routes = Routes("root")
    keys: list[Key] = []
    routes.load(functions=[FUNCTION], projects=[DEFAULT, OWN, OTHER], keys=keys)
    # No source here looks a function up.
    nothing = cast(Any, None)
    asked = Asked(principal=who, path=parameters, query=parameters, routes=routes, functions=nothing, owners=nothing)
    return (await source.find(asked)).project


@pytest.mark.parametrize(
    ("source", "who", "parameters", "project"),
    [
        (OfKey(), principal(Role.INVOKE), {"project": "other"}, OWN),
        (OfKey(), ROOT, {"project": "other"}, DEFAULT),
        (OfKey(every=True), ROOT, {}, None),
        (OfKey(every=True), principal(Role.INVOKE), {}, OWN),
        (OfKey(slug="project"), ROOT, {"project": "other"}, OTHER),
        (OfKey(slug="project"), principal(Role.INVOKE), {"project": "other"}, OTHER),
        (OfKey(function="function"), ROOT, {"function": "F2"}, OTHER),
        (OfKey(function="function"), ROOT, {"function": "unknown"}, DEFAULT),
        (OfKey(function="function"), principal(Role.INVOKE), {"function": "f2"}, OWN),
        (OfKey(slug="project", function="function"), ROOT, {"project": "own", "function": "f2"}, OWN),
        (PathSlug(), ROOT, {"slug": "own"}, OWN),
    ],
)
async def test_the_project_of_a_request(
    source: OfKey, who: Principal, parameters: dict[str, str], project: Project | None
) -> None:
    assert await found(source, who, **parameters) == project


@pytest.mark.parametrize("source", [OfKey(slug="slug"), PathSlug()])
async def test_a_slug_that_nobody_has_is_not_found(source: OfKey | PathSlug) -> None:
    with pytest.raises(NotFound, match=r"^Project not found$"):
        await found(source, ROOT, slug="none\0")


def test_a_row_lets_its_role_and_larger_ones_in() -> None:
    access = Access(Role.DEPLOY, OfKey())
    assert [role for role in Role if access.refusal(principal(role)) is None] == [Role.DEPLOY, Role.ADMIN]
    assert access.refusal(principal(Role.INVOKE)) == "This key has the role invoke; this needs deploy"


def test_a_row_may_let_a_smaller_role_in_besides() -> None:
    access = Access(Role.ADMIN, OfKey(), also=frozenset({Role.INVOKE}))
    assert [role for role in Role if access.refusal(principal(role)) is None] == [Role.INVOKE, Role.ADMIN]


def test_a_row_for_the_root_key_lets_no_key_of_a_project_in() -> None:
    access = Access(Role.ADMIN, OfKey(), root=True)
    assert access.refusal(principal(Role.ADMIN)) == "This needs the root key"
    assert access.refusal(ROOT) is None


def test_the_wider_role_is_asked_for_apart() -> None:
    access = Access(Role.INVOKE, OfKey(), wider=Role.DEPLOY)
    narrow, wide = (
        Grant(principal=principal(role), access=access, found=Found(project=OWN)) for role in (Role.INVOKE, Role.DEPLOY)
    )
    wide.require_wide()
    with pytest.raises(Forbidden, match=r"^This key has the role invoke; this needs deploy$"):
        narrow.require_wide()


def test_a_handler_that_takes_what_its_row_does_not_name_fails() -> None:
    grant = Grant(principal=ROOT, access=Access(Role.INVOKE, OfKey(every=True)), found=Found(project=None))
    with pytest.raises(LookupError):
        _ = grant.project
    with pytest.raises(LookupError):
        _ = grant.function
