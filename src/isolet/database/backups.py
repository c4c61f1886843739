"""Copies the server's database before its schema is changed, so that an upgrade can be undone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct
from sqlalchemy import URL, Engine

from isolet.clock import Clock
from isolet.errors import StoreError
from isolet.telemetry import get_logger

log = get_logger("store")

KEPT = 3
_UNFINISHED = ".unfinished"
_TIMEOUT_S = 6 * 3600.0
_SAID_MAX_CHARS = 300
# What libpq reads from the environment, by the names that URLs have for it.
_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "options": "PGOPTIONS",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "service": "PGSERVICE",
    "passfile": "PGPASSFILE",
    "gssencmode": "PGGSSENCMODE",
    "channel_binding": "PGCHANNELBINDING",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


class UpgradeBackups(Struct, frozen=True, kw_only=True):
    """Copies go to `folder`, which is made when it is missing and is this user's alone; the newest three are kept."""

    folder: Path
    clock: Clock

    def take(self, engine: Engine, schema: str) -> Path:
        """Copy the database as it is, while nobody writes to it; the file. `schema` becomes part of its name.

        Raises StoreError when there is no copy.
        """
        time = datetime.fromtimestamp(self.clock.now_ms() / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
        kind = "db" if engine.dialect.name == "sqlite" else "pgdump"
        file = self.folder / f"schema-{schema}-{time}.{kind}"
        unfinished = file.with_name(file.name + _UNFINISHED)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished.touch(mode=0o600)
            (_copy_sqlite if kind == "db" else _dump_postgresql)(engine, unfinished)
            _sync(unfinished)
            unfinished.rename(file)
            _sync(self.folder)
        except (OSError, sqlite3.Error, StoreError) as exc:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            why = exc.message if isinstance(exc, StoreError) else str(exc)
            raise StoreError(
                f"cannot back up the database before its schema changes: {why}. The database is as it was; mend this, "
                "or back it up yourself and start once with --upgrade-backup=off"
            ) from exc
        self._forget_old(kind)
        log.info("database backed up before its schema changes", file=str(file), schema=schema)
        return file

    def _forget_old(self, kind: str) -> None:
        by_age = sorted(self.folder.glob(f"schema-*.{kind}"), key=lambda file: file.stat().st_mtime_ns)
        for file in by_age[:-KEPT]:
            file.unlink(missing_ok=True)


def copy_database(engine: Engine, target: Path) -> None:
    """Copy what is committed, while others write: SQLite's file, or an archive of pg_dump. Raises StoreError."""
    try:
        (_copy_sqlite if engine.dialect.name == "sqlite" else _dump_postgresql)(engine, target)
    except (OSError, sqlite3.Error) as exc:
        raise StoreError(f"cannot copy the database: {exc}") from exc


def _copy_sqlite(engine: Engine, target: Path) -> None:
    """Another connection reads what is committed, beside the one that keeps others from writing."""
    source = Path(engine.url.database or "")
    size_bytes = sum(file.stat().st_size for file in source.parent.glob(f"{source.name}*"))
    free_bytes = shutil.disk_usage(target.parent).free
    if free_bytes < size_bytes:
        raise StoreError(f"it needs {size_bytes} bytes in {target.parent}, and {free_bytes} are free")
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
        reading.execute("PRAGMA query_only=ON")
        reading.backup(writing)


def _dump_postgresql(engine: Engine, target: Path) -> None:
    program = shutil.which("pg_dump")
    if program is None:
        raise StoreError("pg_dump was not found; it comes with PostgreSQL's client programs")
    command = [program, "--format=custom", "--no-password", "--file", str(target)]
    variables = {**os.environ, **environment(engine.url)}
    try:
        done = subprocess.run(command, env=variables, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise StoreError(f"pg_dump did not end within {_TIMEOUT_S:g} s") from exc
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise StoreError(said[:_SAID_MAX_CHARS] or f"pg_dump ended with {done.returncode}")


def environment(url: URL) -> Mapping[str, str]:
    """How PostgreSQL's programs reach the database of a URL, by variables: their arguments are seen by every user."""
    parts: dict[str, str | None] = {
        "PGDATABASE": url.database,
        "PGUSER": url.username,
        "PGPASSWORD": str(url.password) if url.password is not None else None,
        "PGHOST": url.host,
        "PGPORT": str(url.port) if url.port is not None else None,
    }
    for name, value in url.query.items():
        if name in _VARIABLES:
            parts[_VARIABLES[name]] = value if isinstance(value, str) else ",".join(value)
    return {name: value for name, value in parts.items() if value}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
