import asyncio
import gc
import threading
import traceback
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import DBAPIError

from isolet.database import connection as connections
from isolet.database import projects as stored
from isolet.database.connection import Database
from isolet.database.engine import open_engines
from isolet.database.plain_sql import savepoint
from isolet.database.tables.identity import api_keys
from isolet.database.tables.projects import projects
from isolet.errors import NotFound, StoreError, StoreRefused, ValueRefused
from isolet.ids import ProjectId
from isolet.threads import work_for
from tests.integration.database.rows import a_key, a_project


async def test_a_write_is_there_for_the_next_reader(database: Database) -> None:
    project = a_project()
    await database.write(stored.insert_project, project)
    assert await database.read(stored.list_projects) == [project]


async def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    def insert_and_fail(connection: Connection) -> None:
        stored.insert_project(connection, a_project())
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        await database.write(insert_and_fail)
    assert await database.read(stored.list_projects) == []


async def test_a_reader_cannot_write(database: Database) -> None:
    if database_is_shared(database):
        pytest.skip("one engine reads and writes on this database")
    with pytest.raises(StoreError, match=r"^cannot read from the database: attempt to write a readonly database$"):
        await database.read(stored.insert_project, a_project())


def database_is_shared(database: Database) -> bool:
    return database._engines.reader is database._engines.writer


async def test_what_belongs_to_nothing_is_refused_as_not_found(database: Database) -> None:
    key = a_key(a_project())
    values = {"id": key.id, "project_id": key.project_id, "name": "n", "role": "r", "digest": b"d", "created_at_ms": 0}
    with pytest.raises(NotFound, match="deleted meanwhile"):
        await database.write(lambda connection: connection.execute(insert(api_keys).values(values)))


async def test_what_the_database_cannot_hold_is_told_as_its_fault(database: Database) -> None:
    with pytest.raises(StoreError, match="cannot write to the database: "):
        await database.write(stored.insert_project, a_project(name="a lone \ud800 surrogate"))
    with pytest.raises(StoreError, match="cannot write to the database: "):
        await database.write(stored.insert_project, replace(a_project(), created_at_ms=10**30))
    with pytest.raises(StoreRefused, match="cannot read from the database: "):
        await database.read(lambda connection: connection.execute(projects.select().limit(10**30)))
    assert await database.read(stored.list_projects) == []


def ids_of(connection: Connection, slug: str) -> list[str]:
    return list(connection.scalars(select(projects.c.id).where(projects.c.slug == slug)))


async def test_what_the_database_cannot_hold_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound):
        await database.read(ids_of, "a\ud800")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_nul_is_not_found_in_postgresql(database: Database) -> None:
    with pytest.raises(NotFound):
        await database.read(ids_of, "a\0b")


async def test_many_writers_take_turns(database: Database) -> None:
    await database.write(stored.insert_project, a_project())

    def count_up(connection: Connection) -> None:
        connection.execute(projects.update().values(created_at_ms=projects.c.created_at_ms + 1))

    before = (await database.read(stored.list_projects))[0].created_at_ms
    await asyncio.gather(*(database.write(count_up) for _ in range(50)))
    assert (await database.read(stored.list_projects))[0].created_at_ms == before + 50


async def test_readers_go_on_while_a_writer_works(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def write_slowly(connection: Connection) -> bool:
        stored.insert_project(connection, a_project())
        begun.set()
        return go_on.wait(60)

    writing = asyncio.ensure_future(database.write(write_slowly))
    assert await asyncio.to_thread(begun.wait, 10)
    assert await database.read(stored.list_projects) == []
    go_on.set()
    assert await writing
    assert len(await database.read(stored.list_projects)) == 1


async def test_a_caller_that_leaves_does_not_undo_its_write(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def write_slowly(connection: Connection) -> None:
        stored.insert_project(connection, a_project())
        begun.set()
        go_on.wait(60)

    writing = asyncio.ensure_future(database.write(write_slowly))
    assert await asyncio.to_thread(begun.wait, 10)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    go_on.set()

    # Another writer may be done before it.
    async with asyncio.timeout(60):
        while not await database.read(stored.list_projects):
            pass
    assert len(await database.read(stored.list_projects)) == 1


async def test_closing_finishes_what_was_begun(database_url: str) -> None:
    first = Database(database_url)
    await first.open()
    writing = asyncio.ensure_future(first.write(stored.insert_project, a_project()))
    await asyncio.sleep(0)
    await first.close()
    await writing

    second = Database(database_url)
    await second.open()
    assert len(await second.read(stored.list_projects)) == 1
    await second.close()


SECRET = "Bearer s3cret-value"


def twice(connection: Connection) -> None:
    for _ in range(2):
        values = {
            "id": SECRET,
            "slug": SECRET,
            "name": SECRET,
            "created_at_ms": 0,
            "plan": "free",
            "allowed_origins": [],
        }
        connection.execute(insert(projects).values(values))


REFUSED: dict[str, Callable[[Connection], object]] = {
    "twice": twice,
    "too long": lambda connection: stored.insert_project(connection, replace(a_project(), id=ProjectId(SECRET * 99))),
    "surrogate": lambda connection: stored.insert_project(connection, a_project(name=f"{SECRET}\ud800")),
    "nul": lambda connection: stored.insert_project(connection, a_project(name=f"{SECRET}\0")),
    "no number": lambda connection: connection.execute(
        text("SELECT CAST(:value AS INTEGER) FROM nothing WHERE created_at_ms = :value"), {"value": SECRET}
    ),
    "cast": lambda connection: connection.execute(text("SELECT CAST(:value AS INTEGER)"), {"value": SECRET}),
    "missing column": lambda connection: connection.execute(
        text("SELECT no FROM projects WHERE :v = ''"), {"v": SECRET}
    ),
    "bytes": lambda connection: connection.execute(
        text("INSERT INTO projects (id, slug) VALUES (:v, :b)"), {"v": SECRET, "b": SECRET.encode() * 100}
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_no_error_of_the_database_says_what_it_was_sent(database: Database, name: str) -> None:
    """The log shows whole tracebacks, with everything that led to the error."""
    try:
        await database.write(REFUSED[name])
    except (StoreError, NotFound) as exc:
        told = "".join(traceback.format_exception(exc))
        assert "s3cret" not in told
        assert "cannot write to the database: " in told
        return
    assert is_lenient(database)


def is_lenient(database: Database) -> bool:
    """SQLite takes text of any length, and any text for a number."""
    return not database_is_shared(database)


async def test_what_is_refused_is_told_from_what_may_pass(database: Database) -> None:
    for odd in (a_project(name="a lone \ud800 surrogate"), replace(a_project(), created_at_ms=10**30)):
        with pytest.raises(ValueRefused):
            await database.write(stored.insert_project, odd)
    if database_is_shared(database):
        with pytest.raises(ValueRefused):
            await database.write(stored.insert_project, a_project(name="a NUL \0"))
    with pytest.raises(StoreRefused) as refused:
        await database.write(twice)
    assert not isinstance(refused.value, ValueRefused)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("code", ["40P01", "40001"])
async def test_a_transaction_that_gave_way_to_another_one_runs_again(database: Database, code: str) -> None:
    runs = 0

    def gives_way(connection: Connection, times: int) -> int:
        nonlocal runs
        runs += 1
        if runs <= times:
            connection.exec_driver_sql(f"DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END$$")
        return runs

    assert await database.write(gives_way, 2) == 3
    runs = 0
    with pytest.raises(StoreError):
        await database.write(gives_way, 3)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_connection_that_breaks_within_a_savepoint_is_a_store_that_is_away(database: Database) -> None:
    def break_off(connection: Connection) -> None:
        with savepoint(connection):
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(StoreError) as told:
        await database.write(break_off)
    assert not isinstance(told.value, StoreRefused)


async def test_what_was_written_is_kept_by_nothing(database: Database) -> None:
    class Record:
        pass

    record = Record()
    gone = weakref.ref(record)
    gc.disable()
    try:
        await database.write(lambda _connection, _record: None, record)
        del record
        # The thread that wrote it lets go of it a moment after it has answered.
        async with asyncio.timeout(10):
            while gone() is not None:
                await asyncio.sleep(0.001)
    finally:
        gc.enable()


async def test_slow_work_of_one_project_leaves_a_reader_to_others_and_the_writer_after_one_piece(
    database: Database,
) -> None:
    begun, go = threading.Semaphore(0), threading.Event()

    def slow(_: Connection) -> None:
        begun.release()
        assert go.wait(30)

    async def ask(project: str, *asked: Awaitable[object]) -> None:
        work_for(ProjectId(project))
        await asyncio.gather(*asked)

    loop = asyncio.get_running_loop()
    reading = [loop.create_task(ask("big", database.read(slow))) for _ in range(20)]
    try:
        async with asyncio.timeout(30):
            await asyncio.to_thread(begun.acquire)
            await loop.create_task(ask("small", database.read(stored.list_projects)))
            order: list[str] = []
            writing = [loop.create_task(ask("big", database.write(slow)))]
            writing += [
                loop.create_task(ask(name, database.write(lambda _, name=name: order.append(name))))  # type: ignore[misc]
                for name in ("big",) * 8 + ("small",)
            ]
            # All have asked before the writer goes on.
            for _ in range(5):
                await asyncio.sleep(0)
            go.set()
            await asyncio.gather(*reading, *writing)
    finally:
        go.set()
    if not database_is_shared(database):
        assert order.index("small") <= 2


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_host_that_vanishes_is_not_waited_for_longer_than_the_url_says(database_url: str) -> None:
    def told(connection: Connection) -> dict[str, str]:
        driver: Any = connection.connection.driver_connection
        return dict(driver.info.get_parameters())

    found = []
    for url in (database_url, f"{database_url}&connect_timeout=3&tcp_user_timeout=4000"):
        database = Database(url)
        found.append(await database.read(told))
        await database.close()
    names = ("connect_timeout", "tcp_user_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count")
    assert [[one.get(name) for name in names] for one in found] == [
        ["10", "30000", "15", "5", "3"],
        ["3", "4000", "15", "5", "3"],
    ]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_database_that_does_not_answer_is_not_waited_for_at_the_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session holds a lock, for as long as it likes."""
    monkeypatch.setattr(connections, "_CLOSE_S", 0.1)
    database, holder = Database(database_url), Database(database_url)
    held, done = threading.Event(), threading.Event()

    def hold(connection: Connection) -> bool:
        connection.exec_driver_sql("LOCK TABLE projects")
        held.set()
        return done.wait(60)

    holding = asyncio.ensure_future(holder.write(hold))
    assert await asyncio.to_thread(held.wait, 60)
    asked = [asyncio.ensure_future(database.read(stored.list_projects)) for _ in range(20)]
    await asyncio.sleep(0)

    await asyncio.wait_for(database.close(), 50)

    ends = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(end) for end in ends} == {StoreError, asyncio.CancelledError}
    done.set()
    assert await holding
    await holder.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_that_opens_after_the_others_were_cut_is_cut_too(database_url: str) -> None:
    engines = open_engines(database_url)
    engines.cut()
    with pytest.raises(DBAPIError), engines.reader.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    engines.dispose()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_who_waited_for_another_transaction_sees_what_it_wrote_whatever_the_default_is(database_url: str) -> None:
    database = Database(f"{database_url}&options=-c%20default_transaction_isolation%3Dserializable")
    level = await database.write(lambda connection: connection.execute(text("SHOW transaction_isolation")).scalar_one())
    await database.close()
    assert level == "read committed"
