"""Sessions of people, over both databases."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from isolet.access.sessions import Sessions
from isolet.access.sign_in_links import GOOD_MS, SignInLinks
from isolet.database import access as stored_keys
from isolet.database import projects
from isolet.database.connection import Database
from isolet.domain.access import Role, digest
from isolet.domain.sessions import IDLE_MS, LIFE_MS, SESSIONS_MAX
from isolet.errors import NotFound, Unauthenticated
from isolet.routing.routes import Routes
from tests.integration.database.rows import a_key, a_project

ROOT = "the-root-key"


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Hands:
    return Hands()


async def a_desk(database: Database, clock: Hands, *, root_key: str = ROOT) -> tuple[Sessions, Routes]:
    """Sessions of a server with one project, whose key is `isk_reader`."""
    shop = a_project("shop")
    key = replace(a_key(shop, "reader", role=Role.READ), digest=digest("isk_reader"))
    await database.write(projects.insert_project, shop)
    await database.write(stored_keys.insert_key, key)
    routes = Routes(root_key, clock=clock)
    routes.load(functions=[], projects=[shop], keys=[key])
    return Sessions(database=database, routes=routes, clock=clock, root_key=root_key), routes


async def test_a_session_stands_for_its_key_while_that_is_good(database: Database, clock: Hands) -> None:
    sessions, routes = await a_desk(database, clock)
    with pytest.raises(Unauthenticated):
        await sessions.open("isk_nobody", "")
    token = await sessions.open("isk_reader", "x" * 500)
    session = await sessions.find(token)
    assert session is not None
    principal = sessions.principal(session)
    assert principal is not None
    assert (principal.role, len(session.agent)) == (Role.READ, 200)
    assert await sessions.find(token + "x") is None
    assert token.encode() not in session.token_digest
    routes.drop_key(session.key_id or "")
    assert (sessions.principal(session), await sessions.find(token)) == (None, None)


@pytest.mark.parametrize(
    "said", ["isk_" + "k" * 43, f"curl/8 {ROOT}", "ist_" + "x" * 20, "Basic " + "aXNrX2tleTprZXk="]
)
async def test_a_key_in_the_name_of_a_browser_is_not_kept(database: Database, clock: Hands, said: str) -> None:
    sessions, _ = await a_desk(database, clock)
    for agent in (said, "x" * 195 + " " + said):
        session = await sessions.find(await sessions.open("isk_reader", agent))
        assert session is not None
        assert session.agent == "[redacted]"


async def test_use_keeps_a_session_and_time_ends_it(database: Database, clock: Hands) -> None:
    sessions, _ = await a_desk(database, clock)
    idle, used = [await sessions.open(ROOT, "") for _ in range(2)]
    began = clock.ms
    while clock.ms + IDLE_MS - 1 < began + LIFE_MS:
        clock.ms += IDLE_MS - 1
        assert await sessions.find(used) is not None
    assert await sessions.find(idle) is None
    clock.ms = began + LIFE_MS
    assert await sessions.find(used) is None


async def test_another_root_key_ends_every_session(database: Database, clock: Hands) -> None:
    sessions, routes = await a_desk(database, clock)
    token = await sessions.open("isk_reader", "")
    other = Sessions(database=database, routes=routes, clock=clock, root_key="another")
    assert await other.find(token) is None
    again = Sessions(database=database, routes=routes, clock=clock, root_key=ROOT)
    assert await again.find(token) is not None


async def test_a_key_ends_its_own_sessions_and_the_root_key_all(database: Database, clock: Hands) -> None:
    sessions, _ = await a_desk(database, clock)
    tokens = [await sessions.open(key, "") for key in (ROOT, "isk_reader")]
    root, reader = [await sessions.find(token) for token in tokens]
    assert root is not None
    assert reader is not None
    own, every = sessions.principal(reader), sessions.principal(root)
    assert own is not None
    assert every is not None
    assert [one.id for one in await sessions.list(own)] == [reader.id]
    assert {one.id for one in await sessions.list(every)} == {root.id, reader.id}
    with pytest.raises(NotFound):
        await sessions.end(own, root.id)
    await sessions.end(every, reader.id)
    assert (await sessions.find(tokens[1]), sessions.is_open(reader)) == (None, False)
    assert sessions.form_token(root) != sessions.form_token(reader)


async def test_one_key_has_so_many_sessions_at_most(database: Database, clock: Hands) -> None:
    sessions, _ = await a_desk(database, clock)
    other = await sessions.open(ROOT, "")
    tokens = [await sessions.open("isk_reader", "") for _ in range(SESSIONS_MAX + 1)]
    found = [await sessions.find(token) is not None for token in tokens]
    assert found == [False, *[True] * SESSIONS_MAX]
    assert await sessions.find(other) is not None


async def test_the_database_forgets_sessions_with_their_key(database: Database, clock: Hands) -> None:
    sessions, _ = await a_desk(database, clock)
    session = await sessions.find(await sessions.open("isk_reader", ""))
    root = await sessions.find(await sessions.open(ROOT, ""))
    assert session is not None
    assert root is not None
    assert session.key_id is not None
    assert session.project_id is not None
    assert await database.write(stored_keys.delete_key, session.project_id, session.key_id)
    every = sessions.principal(root)
    assert every is not None
    assert [one.id for one in await sessions.list(every)] == [root.id]


def test_a_link_is_good_once_and_for_an_hour(clock: Hands) -> None:
    links = SignInLinks(clock)
    assert not links.use("")
    code = links.make()
    assert (links.use(code + "x"), links.use(code), links.use(code)) == (False, True, False)
    late = links.make()
    clock.ms += GOOD_MS
    assert not links.use(late)
