"""Everything that differs between SQLite and PostgreSQL, behind one narrow object."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from isolet.domain.json_reading import read_stored
from isolet.domain.json_writing import write_stored
from isolet.errors import SettingsError

# What a statement was sent with is in no error's text.
_COMMON: dict[str, Any] = {
    "hide_parameters": True,
    "json_serializer": write_stored,
    "json_deserializer": read_stored,
}
# A host that vanishes without a word is noticed within half a minute; the system's own limits are two minutes for a new
# connection, a quarter of an hour for what was sent and two hours for an answer. What the URL says counts.
_LOST = {
    "connect_timeout": 10,
    "tcp_user_timeout": 30_000,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
# PostgreSQL's: characters that an encoding lacks, and a number out of range.
_ODD_TEXT = frozenset({"22021", "22P05"})
_ODD_NUMBER = "22003"


class Engines(Struct, frozen=True, kw_only=True):
    """`writer_threads` is how many transactions may write at once: one on SQLite, which has one writer.

    `shared` says that several servers may work on the database. `cut` breaks what waits for an answer of it, in any
    thread.
    """

    writer: Engine
    reader: Engine
    writer_threads: int
    reader_threads: int = 4
    shared: bool = False
    cut: Callable[[], None] = lambda: None

    def dispose(self) -> None:
        self.reader.dispose()
        self.writer.dispose()


def open_engines(url: str) -> Engines:
    """Engines for a SQLAlchemy URL. Raises SettingsError for another kind of database, and without its driver."""
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise SettingsError("cannot read ISOLET_DATABASE_URL: it is not a database URL") from exc
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise SettingsError(f"cannot use ISOLET_DATABASE_URL: {backend} is neither sqlite nor postgresql")
    try:
        return _sqlite(url) if backend == "sqlite" else _postgresql(url)
    except (ModuleNotFoundError, NoSuchModuleError) as exc:
        hint = ". Install it with .venv/bin/pip install 'psycopg[binary]'" if backend == "postgresql" else ""
        raise SettingsError(f"cannot use ISOLET_DATABASE_URL: its driver is not there: {exc}{hint}") from exc


def is_orphan(error: DBAPIError) -> bool:
    """Whether a row was refused because what it belongs to is not there: it was deleted meanwhile."""
    found = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None)
    return found in ("SQLITE_CONSTRAINT_FOREIGNKEY", "23503")


def is_conflict(error: Exception) -> bool:
    """Whether a transaction was rolled back because of another one that ran at the same time: a deadlock."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in ("40001", "40P01")


def is_refusal(error: Exception) -> bool:
    """Whether the database works and will not take these values, so that to try again is of no use."""
    if not isinstance(error, DBAPIError):
        # What a driver says of text with lone surrogates, and of numbers over 64 bits, before it asks the database.
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        # Data, constraints, and what is beyond the database's own limits.
        return str(state)[:2] in ("22", "23", "54")
    return isinstance(error, DataError | IntegrityError)


def is_odd_text(error: Exception) -> bool:
    """Whether a text is one that no column holds: it has half a surrogate pair, or a NUL."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, UnicodeEncodeError)
    if (state := getattr(error.orig, "sqlstate", None)) is not None:
        return state in _ODD_TEXT
    return isinstance(error, DataError) and "NUL" in str(error.orig)


def is_odd_number(error: Exception) -> bool:
    """Whether a number is one that no column holds."""
    return isinstance(error, OverflowError) or getattr(getattr(error, "orig", None), "sqlstate", None) == _ODD_NUMBER


def _tell_no_values(engine: Engine) -> None:
    """Errors say what the database said, without what it was sent, whoever shows them.

    PostgreSQL quotes values in details and contexts, and in its very words where they are not what a type has.
    """

    @event.listens_for(engine, "handle_error")
    def _reword(context: ExceptionContext) -> None:
        error, whole = context.original_exception, context.sqlalchemy_exception
        if (diagnosis := getattr(error, "diag", None)) is None:
            return
        about_values = (diagnosis.sqlstate or "").startswith("22")
        said = str(diagnosis.message_primary or error).partition("\n")[0]
        error.args = (type(error).__name__ if about_values else said,)
        if whole is not None:
            # It was worded before.
            whole.args = (f"({type(error).__name__}) {error}",)


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path.absolute()}"


def _sqlite(url: str) -> Engines:
    writer = create_engine(
        url, **_COMMON, poolclass=QueuePool, pool_size=1, max_overflow=0, connect_args={"check_same_thread": False}
    )
    reader = create_engine(
        url, **_COMMON, poolclass=QueuePool, pool_size=4, max_overflow=0, connect_args={"check_same_thread": False}
    )
    _prepare(writer, begin="BEGIN IMMEDIATE", pragmas={"journal_mode": "WAL", "synchronous": "FULL"})
    _prepare(reader, begin="BEGIN", pragmas={"query_only": "ON"})
    return Engines(writer=writer, reader=reader, writer_threads=1)


def _prepare(engine: Engine, *, begin: str, pragmas: dict[str, str]) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        # Transactions are begun by the listener below, not by the driver's guess.
        connection.isolation_level = None
        cursor = connection.cursor()
        for name, value in {"busy_timeout": "10000", "foreign_keys": "ON", **pragmas}.items():
            cursor.execute(f"PRAGMA {name}={value}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)


def _postgresql(url: str) -> Engines:
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    given = {name: value for name, value in _LOST.items() if name not in parsed.query}
    engine = create_engine(
        parsed,
        **_COMMON,
        pool_size=12,
        max_overflow=4,
        pool_pre_ping=True,
        connect_args=given,
        # Whatever the database's default is: who waited for a lock is to see what was written meanwhile.
        isolation_level="READ COMMITTED",
    )
    _tell_no_values(engine)
    return Engines(writer=engine, reader=engine, writer_threads=4, shared=True, cut=_cutter(engine))


def _cutter(engine: Engine) -> Callable[[], None]:
    """What shuts the sockets of all connections, also of those that left the pool, and of those that open later."""
    opened: weakref.WeakSet[Any] = weakref.WeakSet()
    changing = threading.Lock()
    is_cut = False

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        with changing:
            opened.add(connection)
            late = is_cut
        if late:
            _shut(connection)

    def cut() -> None:
        nonlocal is_cut
        with changing:
            is_cut = True
            known = list(opened)
        for connection in known:
            _shut(connection)

    return cut


def _shut(connection: Any) -> None:
    if not connection.closed:
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as shared, contextlib.suppress(OSError):
            shared.shutdown(socket.SHUT_RDWR)
