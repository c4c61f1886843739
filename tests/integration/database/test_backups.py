"""The database is copied before its schema changes, whichever it is; without a copy nothing changes."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url, text

from isolet.clock import SystemClock
from isolet.database import migrate
from isolet.database.backups import KEPT, UpgradeBackups, environment
from isolet.database.connection import Database
from isolet.database.engine import Engines, open_engines
from isolet.errors import StoreError

EARLIER = "0009"


@pytest.fixture
def engines(empty_database_url: str) -> Iterator[Engines]:
    """A database of an earlier release, with a project in it."""
    opened = open_engines(empty_database_url)
    with opened.writer.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, EARLIER)
        connection.execute(
            text(
                "INSERT INTO projects (id, slug, name, plan, allowed_origins, created_at_ms) "
                "VALUES ('p', 'the-only-shop', 'Shop', 'free', '[]', 5)"
            )
        )
    yield opened
    opened.dispose()


def backups_in(folder: Path) -> UpgradeBackups:
    return UpgradeBackups(folder=folder, clock=SystemClock())


def schema_of(engines: Engines) -> str:
    with engines.reader.begin() as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def content(file: Path) -> list[str]:
    """The schema and the projects that a copy holds."""
    if file.suffix == ".db":
        with closing(sqlite3.connect(file)) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version UNION ALL SELECT slug FROM projects")
            return [row[0] for row in found]
    script = subprocess.run(["pg_restore", "-f", "-", str(file)], capture_output=True, text=True, check=True).stdout
    return [word for word in (EARLIER, "the-only-shop") if word in script]


async def test_a_database_of_an_earlier_release_is_copied_before_it_changes(
    engines: Engines, empty_database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    for _ in range(2):
        # The second time there is nothing to change, and nothing to copy.
        database = Database(empty_database_url, backups=backups_in(folder))
        await database.open()
        await database.close()

    assert schema_of(engines) == migrate.revisions()[-1]
    (file,) = folder.iterdir()
    assert content(file) == [EARLIER, "the-only-shop"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]


async def test_a_new_database_is_not_copied(empty_database_url: str, tmp_path: Path) -> None:
    database = Database(empty_database_url, backups=backups_in(tmp_path / "backups"))
    await database.open()
    await database.close()
    assert not (tmp_path / "backups").exists()


async def test_without_a_copy_nothing_changes(
    engines: Engines, empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    if make_url(empty_database_url).get_backend_name() == "postgresql":
        monkeypatch.setenv("PATH", str(tmp_path))
        why = "pg_dump was not found"
    else:
        folder.touch()
        why = "File exists"
    database = Database(empty_database_url, backups=backups_in(folder))
    try:
        with pytest.raises(StoreError, match=rf"before its schema changes: .*{why}.* --upgrade-backup=off$"):
            await database.open()
    finally:
        await database.close()
    assert schema_of(engines) == EARLIER
    assert not list(folder.glob("*"))


def test_the_newest_copies_are_kept(engines: Engines, tmp_path: Path) -> None:
    backups = backups_in(tmp_path / "backups")
    taken = [backups.take(engines.writer, f"{number:04}") for number in range(KEPT + 2)]
    assert sorted(backups.folder.iterdir()) == sorted(taken[-KEPT:])


def test_programs_of_postgresql_get_the_password_by_a_variable() -> None:
    url = make_url("postgresql+psycopg://me:p%40ss@db.example:6432/isolet?sslmode=verify-full&application_name=x")
    assert environment(url) == {
        "PGUSER": "me",
        "PGPASSWORD": "p@ss",
        "PGHOST": "db.example",
        "PGPORT": "6432",
        "PGDATABASE": "isolet",
        "PGSSLMODE": "verify-full",
    }
    assert environment(make_url("postgresql:///isolet?host=/run/here")) == {
        "PGHOST": "/run/here",
        "PGDATABASE": "isolet",
    }
