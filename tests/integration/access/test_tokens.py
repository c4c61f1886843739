"""OAuth tokens, on each kind of database."""

from __future__ import annotations

import pytest

from isolet.clock import SystemClock
from isolet.database import oauth_tokens as stored
from isolet.database.connection import Database
from isolet.domain.access import digest
from isolet.projects.tokens import EXPIRES_S, Tokens

pytestmark = pytest.mark.anyio


async def test_a_revoked_token_stands_for_nobody_and_is_gone(database: Database) -> None:
    tokens = Tokens(database=database, clock=SystemClock())
    token = await tokens.issue("isk_key")
    assert tokens.key_digest(token) == digest("isk_key")
    await tokens.revoke(token)
    assert tokens.key_digest(token) is None
    assert await database.read(stored.list_tokens) == {}


async def test_to_revoke_what_nobody_issued_does_not_reach_the_database(database: Database) -> None:
    tokens = Tokens(database=database, clock=SystemClock())
    token = await tokens.issue("isk_key")
    await database.close()
    for text in ("", "x", "ist_" + "a" * 43, "\0", "ä" * 10_000, token + "x"):
        await tokens.revoke(text)
    with pytest.raises(RuntimeError):
        await tokens.revoke(token)


async def test_the_oldest_token_of_a_project_makes_room_and_no_other_projects(database: Database) -> None:
    owners = {digest("isk_one"): "a", digest("isk_two"): "a", digest("isk_other"): "b"}

    def opened() -> Tokens:
        return Tokens(database=database, clock=SystemClock(), owner_of=owners.__getitem__, most=2)

    tokens = opened()
    issued = [await tokens.issue(key) for key in ("isk_other", "isk_one", "isk_two", "isk_one", "isk_other")]
    for there in (tokens, opened()):
        await there.load()
        assert [there.key_digest(token) is not None for token in issued] == [True, False, True, True, True]
    assert len(await database.read(stored.list_tokens)) == 4


async def test_what_another_server_issued_or_revoked_is_known_here_and_the_rest_stays(database: Database) -> None:
    here, there = (Tokens(database=database, clock=SystemClock()) for _ in range(2))
    kept, revoked = [await here.issue("isk_key") for _ in range(2)]
    await there.load()
    issued = await there.issue("isk_other")
    await there.revoke(revoked)
    await here.load()
    assert [here.key_digest(token) for token in (kept, revoked, issued)] == [
        digest("isk_key"),
        None,
        digest("isk_other"),
    ]


async def test_tokens_that_ran_out_leave_with_the_next_one(database: Database) -> None:
    clock = SetClock()
    tokens = Tokens(database=database, clock=clock)
    for _ in range(3):
        await tokens.issue("isk_key")
    clock.at_ms += EXPIRES_S * 1000
    again = Tokens(database=database, clock=clock)
    await again.load()
    token = await again.issue("isk_key")
    assert list(await database.read(stored.list_tokens)) == [digest(token)]


class SetClock(SystemClock):
    at_ms = 1_769_860_800_123

    def now_ms(self) -> int:
        return self.at_ms
