"""A new release starts on the data of an earlier one, and an earlier one does not start on the data of a new one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config

from isolet.database import migrate
from isolet.database.engine import open_engines, sqlite_url
from tests.support.server import Server


def of_an_earlier_release(file: Path) -> None:
    engines = open_engines(sqlite_url(file))
    with engines.writer.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0016")
    engines.dispose()


def schema_of(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def set_schema(file: Path, schema: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (schema,))


def test_upgrades_leave_a_way_back_and_never_go_back_by_themselves(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    database = data / "isolet.db"
    of_an_earlier_release(database)

    with Server(data) as server, server.client() as client:
        assert client.get("/isolet/v1/projects").status_code == 200
    assert schema_of(database) == migrate.revisions()[-1]
    (backup,) = (data / "backups").iterdir()
    assert schema_of(backup) == "0016"

    set_schema(database, "9999")
    server = Server(data)
    assert server.wait(60) == 1
    assert "isolet: cannot open the database: its schema 9999 is newer than this release; upgrade Isolet" in server.log
    assert "Traceback" not in server.log
    assert schema_of(database) == "9999"
    assert list((data / "backups").iterdir()) == [backup]
