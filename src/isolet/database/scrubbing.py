"""Takes the remains of what was overwritten out of SQLite's file, once: pages that are free, and the log of writes.

PostgreSQL does the like by itself, and a server cannot make it do so at once.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine

SCRUBBED = 1


def is_scrubbed(engine: Engine) -> bool:
    """Whether nothing is to be done. The file itself remembers it."""
    if engine.dialect.name != "sqlite":
        return True
    with engine.begin() as connection:
        return bool(connection.exec_driver_sql("PRAGMA user_version").scalar_one() >= SCRUBBED)


def mark_scrubbed(connection: Connection) -> None:
    """For a new file of SQLite, which never held anything that was overwritten."""
    connection.exec_driver_sql(f"PRAGMA user_version = {SCRUBBED}")


def scrub(engine: Engine) -> bool:
    """Write the file anew and empty the log; False when a reader of the file kept it from that.

    Takes as long as reading and writing all of it. Raises DBAPIError when there is no room for a second file.
    """
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if cursor.fetchone()[0] != 0:  # type: ignore[index]
            return False
        cursor.execute(f"PRAGMA user_version = {SCRUBBED}")
        return True
    finally:
        connection.close()
