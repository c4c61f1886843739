"""Brings the database's schema up to what this code knows, after a copy of it, and refuses one that is newer.

A new database gets the schema of the code at once. That and the migrations make the same, as a test compares.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, PrimaryKeyConstraint, String, Table, inspect, text
from sqlalchemy.schema import CreateIndex, CreateTable

from isolet.database.backups import UpgradeBackups
from isolet.database.scrubbing import mark_scrubbed
from isolet.errors import StoreError

_LOCK = 0x49534F4C4554
_FOLDER = Path(__file__).parent / "migrations"


def upgrade(engine: Engine, backups: UpgradeBackups | None = None) -> None:
    """Apply every migration not applied yet, to a database of an earlier release after a backup of it.

    Raises StoreError for a schema from a newer release, and when there is no backup; then nothing is changed.
    """
    known = revisions()
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Servers that start at the same time take turns.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        current = _current(connection)
        if current == known[-1]:
            return
        if current is not None and current not in known:
            raise StoreError(
                f"cannot open the database: its schema {current} is newer than this release; upgrade Isolet"
            )
        if current is None:
            _create(connection, known[-1])
            return
        if backups is not None:
            backups.take(engine, current)
        apply_migrations(connection)


def revisions() -> list[str]:
    """Every schema that this code knows, oldest first: migrations stand in one line, each file named by its own."""
    return sorted(file.name.partition("_")[0] for file in (_FOLDER / "versions").glob("[0-9]*.py"))


def _current(connection: Connection) -> str | None:
    """The schema that the database has; None before the first migration."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _create(connection: Connection, newest: str) -> None:
    """All tables at once: to make them in the steps of all releases takes ten times as long."""
    # Its partial indexes load the dialects of both databases.
    from isolet.database.schema import metadata  # noqa: PLC0415

    for table in metadata.sorted_tables:
        connection.execute(CreateTable(table))
        # In one order: SQLite takes the newest of the indexes that serve a query equally well.
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            connection.execute(CreateIndex(index))
    version = Table("alembic_version", MetaData(), Column("version_num", String(32), nullable=False))
    version.append_constraint(PrimaryKeyConstraint("version_num", name="alembic_version_pkc"))
    version.create(connection, checkfirst=False)
    connection.execute(version.insert().values(version_num=newest))
    if connection.dialect.name == "sqlite":
        mark_scrubbed(connection)


def apply_migrations(connection: Connection) -> None:
    """Every migration that the database lacks, in its order."""
    # Alembic takes a quarter of a second to load, which only a database with something to apply need pay.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
