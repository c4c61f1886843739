"""Brings the database's schema up to what this code knows, and refuses one that is newer."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from isolet.errors import StoreError

_LOCK = 0x49534F4C4554


def upgrade(engine: Engine) -> None:
    """Apply every migration not applied yet. Raises StoreError for a schema from a newer release."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Servers that start at the same time take turns.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        current = MigrationContext.configure(connection).get_current_revision()
        if current == scripts.get_current_head():
            return
        if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
            raise StoreError(
                f"cannot open the database: its schema {current} is newer than this release; upgrade Isolet"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
