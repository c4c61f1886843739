import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Inspector, inspect, text

from isolet.database import functions as stored_functions
from isolet.database import jobs as stored_jobs
from isolet.database import migrate
from isolet.database.code_sizes import no_bound
from isolet.database.connection import Database
from isolet.database.engine import Engines, open_engines, sqlite_url
from isolet.database.schema import metadata
from isolet.database.settings_sizes import note_settings, settings_bytes
from isolet.domain.http_jobs import CallPayload, DeliveryPayload, ReplyHead
from isolet.domain.invocations import Door, Kind
from isolet.errors import StoreError
from isolet.ids import FunctionId, JobId


@pytest.fixture
def engines(empty_database_url: str) -> Iterator[Engines]:
    opened = open_engines(empty_database_url)
    yield opened
    opened.dispose()


def _migrate_step_by_step(engines: Engines) -> None:
    with engines.writer.begin() as connection:
        migrate.apply_migrations(connection)


def test_migrations_lead_to_the_schema_that_the_code_speaks_of(engines: Engines) -> None:
    _migrate_step_by_step(engines)

    with engines.writer.begin() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_a_fresh_database_is_what_all_migrations_make_of_an_empty_one(engines: Engines) -> None:
    migrate.upgrade(engines.writer)
    fresh = _whole_schema(engines)
    with engines.writer.begin() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA user_version = 0")

    _migrate_step_by_step(engines)

    assert fresh == _whole_schema(engines)


def _whole_schema(engines: Engines) -> dict[str, object]:
    """Everything of every table but the order of columns, and what the database remembers of itself."""
    with engines.writer.begin() as connection:
        found = inspect(connection)
        schema: dict[str, object] = {name: _table(found, name) for name in found.get_table_names()}
        schema["version"] = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
        if connection.dialect.name == "sqlite":
            schema["scrubbed"] = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    return schema


def _table(found: Inspector, name: str) -> list[str]:
    several = (
        found.get_columns(name),
        found.get_indexes(name),
        found.get_foreign_keys(name),
        found.get_unique_constraints(name),
        found.get_check_constraints(name),
        [found.get_pk_constraint(name)],
    )
    return sorted(json.dumps(one, default=str, sort_keys=True) for ones in several for one in ones)


def test_upgrading_again_changes_nothing(engines: Engines) -> None:
    migrate.upgrade(engines.writer)
    with engines.writer.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO projects (id, slug, name, plan, allowed_origins, created_at_ms) "
                "VALUES ('id', 'slug', 'name', 'free', '[]', 5)"
            )
        )

    migrate.upgrade(engines.writer)

    with engines.reader.begin() as connection:
        assert connection.execute(text("SELECT slug, created_at_ms FROM projects")).all() == [("slug", 5)]


def test_every_migration_stands_in_one_line() -> None:
    files = sorted((Path(migrate.__file__).parent / "migrations/versions").glob("*.py"))
    chain = []
    for file in files:
        source = file.read_text()
        down = re.search(r'^down_revision = (?:None|"(\w+)")$', source, re.MULTILINE)
        here = re.search(r'^revision = "(\w+)"$', source, re.MULTILINE)
        assert down is not None
        assert here is not None
        chain.append((down[1], here[1]))
    assert [down for down, _ in chain] == [None, *(here for _, here in chain[:-1])]
    assert migrate.revisions() == [here for _, here in chain]


async def test_a_schema_of_a_later_release_is_refused_and_left_as_it_is(
    engines: Engines, empty_database_url: str
) -> None:
    migrate.upgrade(engines.writer)
    with engines.writer.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    later = Database(empty_database_url)
    try:
        with pytest.raises(StoreError, match=r"its schema 9999 is newer than this release; upgrade Isolet$"):
            await later.open()
    finally:
        await later.close()
    with engines.reader.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "isolet.db"
    path.write_bytes(b"no database at all" * 100)

    database = Database(sqlite_url(path))
    try:
        with pytest.raises(StoreError, match=r"^cannot open the database: file is not a database$"):
            await database.open()
    finally:
        await database.close()


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "missing" / "isolet.db"))
    try:
        with pytest.raises(StoreError, match=r"^cannot open the database: unable to open database file$"):
            await database.open()
    finally:
        await database.close()


async def test_the_code_of_an_earlier_release_is_kept(engines: Engines, empty_database_url: str) -> None:
    with engines.writer.begin() as connection:
        command.upgrade(_config(connection), "0009")
        connection.execute(
            text(
                "INSERT INTO projects (id, slug, name, plan, allowed_origins, created_at_ms) "
                "VALUES ('p', 'shop', 'Shop', 'free', '[]', 5)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO functions (id, project_id, name, slug, code, function_type, response_mode, "
                "public_endpoint, limits, status, lock_version, created_at_ms, updated_at_ms) VALUES "
                "('f', 'p', 'One', 'one', 'the ü code', 'cloudflare_worker', 'passthrough', false, '{}', 'draft', "
                "0, 5, 5)"
            )
        )

    database = Database(empty_database_url)
    await database.open()
    try:
        read = partial(stored_functions.get_function, function_id=FunctionId("f"), with_code=True)
        function = await database.read(read)
    finally:
        await database.close()

    assert (function.name, function.code) == ("One", "the ü code")


def test_schedules_of_an_earlier_release_keep_their_firings(engines: Engines) -> None:
    with engines.writer.begin() as connection:
        command.upgrade(_config(connection), "0028")
        for statement in (
            "INSERT INTO projects (id, slug, name, plan, allowed_origins, created_at_ms) "
            "VALUES ('p', 'slug', 'name', 'free', '[]', 5)",
            "INSERT INTO functions (id, project_id, name, slug, function_type, response_mode, public_endpoint, "
            "limits, status, lock_version, created_at_ms, updated_at_ms) "
            "VALUES ('f', 'p', 'n', 'n', 'js', 'passthrough', false, '{}', 'draft', 0, 5, 5)",
            "INSERT INTO schedules (id, project_id, function_id, name, cron, dialect, timezone, policies, enabled, "
            "seen_ms, missed_total, failures, created_at_ms, updated_at_ms) "
            "VALUES ('s', 'p', 'f', 'n', '* * * * *', 'standard', 'UTC', '{}', true, 5, 0, 0, 5, 5)",
            "INSERT INTO firings (id, schedule_id, key, due_ms, fired_at_ms, status, counted, attempt) "
            "VALUES ('j', 's', 'k', 5, 6, 'succeeded', true, 1)",
        ):
            connection.exec_driver_sql(statement)
        secret = (
            "INSERT INTO secrets (function_id, name, type, sealed, created_at_ms) VALUES ('f', 'K', 'text', :sealed, 5)"
        )
        connection.execute(text(secret), {"sealed": b"\x00\xff"})

    migrate.upgrade(engines.writer)

    with engines.writer.begin() as connection:
        assert connection.execute(text("SELECT function_id, workflow_id FROM schedules")).all() == [("f", None)]
        assert connection.execute(text("SELECT id, schedule_id, fired_at_ms FROM firings")).all() == [("j", "s", 6)]
        size = settings_bytes(connection, FunctionId("f"))
        note_settings(connection, FunctionId("f"), no_bound)
        assert size == settings_bytes(connection, FunctionId("f")) > 3
        connection.execute(text("DELETE FROM functions"))
        assert connection.execute(text("SELECT id FROM schedules")).all() == []
        assert connection.execute(text("SELECT id FROM firings")).all() == [("j",)], "they are deleted in steps"
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]


async def test_jobs_of_an_earlier_release_keep_what_they_ask_for_and_what_came_of_it(
    engines: Engines, empty_database_url: str
) -> None:
    headers = [["x-a", 'q"\\\n'], ["x-odd", "\ud800\0ü"]]
    row = {"id": "j1", "kind": "call", "callback_url": "https://example.com/?a='b'", "status": None}
    rows = [
        row,
        {**row, "id": "j2", "status": 503},
        {"id": "j3", "kind": "callback", "callback_url": None, "status": 0},
    ]
    with engines.writer.begin() as connection:
        command.upgrade(_config(connection), "0016")
        for values in rows:
            connection.execute(
                text(
                    "INSERT INTO jobs (id, kind, project_id, function_id, function_name, lane, method, target, "
                    "created_at_ms, due_at_ms, headers, body, callback_url, state, claims, attempts, cancel_requested, "
                    "result_status, result_headers, result_body, history) VALUES (:id, :kind, 'p', 'f', 'n', 'p:f', "
                    "'POST', '/', 5, 5, :headers, :body, :callback_url, 'queued', 0, 0, false, :status, :headers, "
                    ":body, '[]')"
                ),
                {**values, "headers": json.dumps(headers), "body": b"\x00\xff"},
            )

    database = Database(empty_database_url)
    await database.open()
    try:
        first, second, third = [await database.read(stored_jobs.get, JobId(row["id"])) for row in rows]
    finally:
        await database.close()

    assert first is not None
    assert second is not None
    assert third is not None
    pairs = tuple((name, value) for name, value in headers)
    for call in (first, second):
        assert CallPayload.of(call) == CallPayload(
            door=Door.ALTAIR, kind=Kind.ASYNC, method="POST", headers=pairs, callback_url="https://example.com/?a='b'"
        )
    assert ReplyHead.of(first) is None
    assert ReplyHead.of(second) == ReplyHead(status=503, headers=pairs)
    assert (DeliveryPayload.of(third), ReplyHead.of(third)) == (
        DeliveryPayload(headers=pairs),
        ReplyHead(status=0, headers=pairs),
    )
    assert (second.body, second.result_body) == (b"\x00\xff", b"\x00\xff")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
