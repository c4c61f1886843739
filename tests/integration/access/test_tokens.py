"""OAuth tokens, on each kind of database."""

from __future__ import annotations

import pytest

from isolet.clock import SystemClock
from isolet.database import oauth_tokens as stored
from isolet.database.connection import Database
from isolet.domain.access import digest
from isolet.projects.tokens import Tokens

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
