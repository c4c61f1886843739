"""Copies of the server's database while it is in use, on both databases."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from isolet.database.connection import Database
from isolet.errors import TooManyRequests, Unavailable
from isolet.project_data.server_copy import DatabaseCopies

MADE = (
    "INSERT INTO projects (id, slug, name, plan, allowed_origins, created_at_ms) "
    "VALUES ('{0}', '{0}', 'Shop', 'free', '[]', 5)"
)


def insert(connection: Connection, slug: str) -> None:
    connection.execute(text(MADE.format(slug)))


def slugs(file: Path) -> list[str]:
    if file.read_bytes()[:6] == b"SQLite":
        with closing(sqlite3.connect(file)) as connection:
            return [row[0] for row in connection.execute("SELECT slug FROM projects ORDER BY slug")]
    script = subprocess.run(["pg_restore", "-f", "-", str(file)], capture_output=True, text=True, check=True).stdout
    return [slug for slug in ("after", "before") if f"\t{slug}\t" in script]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def left_in(folder: Path) -> list[Path]:
    return list(folder.glob(".backup-*"))


async def test_a_copy_holds_what_was_committed_and_others_go_on_writing(
    empty_database_url: str, tmp_path: Path
) -> None:
    database = Database(empty_database_url)
    await database.open()
    copies = DatabaseCopies(database=database, folder=tmp_path)
    try:
        await database.write(insert, "before")
        async with copies.create() as file:
            await database.write(insert, "after")
            assert slugs(file) == ["before"]
            assert mode(file.parent) == 0o700
            with pytest.raises(TooManyRequests):
                async with copies.create():
                    pass
        assert left_in(tmp_path) == []
        async with copies.create() as file:
            assert slugs(file) == ["after", "before"]
    finally:
        await database.close()


async def test_a_copy_that_nobody_takes_any_more_leaves_nothing(empty_database_url: str, tmp_path: Path) -> None:
    database = Database(empty_database_url)
    await database.open()
    copies = DatabaseCopies(database=database, folder=tmp_path)
    made = asyncio.Event()

    async def hold() -> None:
        async with copies.create():
            made.set()
            await asyncio.Event().wait()

    try:
        task = asyncio.get_running_loop().create_task(hold())
        await made.wait()
        task.cancel()
        await asyncio.wait([task])
        assert left_in(tmp_path) == []
        async with copies.create():
            pass
        nowhere = DatabaseCopies(database=database, folder=tmp_path / "none")
        for _ in range(2):
            with pytest.raises(Unavailable, match="cannot back up the database"):
                async with nowhere.create():
                    pass
    finally:
        await database.close()
