"""Rows that are many or large are deleted in steps, after what they belong to: without foreign keys. What the settings,
variables and secrets of functions take, and payloads of schedules, so that a project's are bounded.
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_SETTINGS = (
    *("name", "description", "runtime_config", "triggers", "agent", "retry", "altair", "hosts", "bindings"),
    "compatibility",
)
_SEALED = ("sealed_triggers", "sealed_env")
_KEYS = (
    ("versions", "function_id"),
    ("function_sources", "function_id"),
    ("deployments", "function_id"),
    ("secrets", "function_id"),
    ("function_environments", "function_id"),
    ("firings", "schedule_id"),
    ("realtime_messages", "project_id"),
)


def upgrade() -> None:
    op.create_table(
        "leftovers",
        sa.Column("id", sa.String(36), primary_key=True, nullable=False),
        sa.Column("is_project", sa.Boolean, nullable=False),
    )
    _size_settings()
    if op.get_bind().dialect.name == "postgresql":
        for table, column in _KEYS:
            op.drop_constraint(_name(table, column), table, type_="foreignkey")
    else:
        _reword()


def _size_settings() -> None:
    octets = "octet_length" if op.get_bind().dialect.name == "postgresql" else "length"
    as_bytes = "TEXT" if octets == "octet_length" else "BLOB"

    def size(name: str, kind: str) -> str:
        return f"coalesce({octets}({name if kind == 'sealed' else f'CAST(CAST({name} AS TEXT) AS {as_bytes})'}), 0)"

    own = [size(name, "text") for name in _SETTINGS] + [size(name, "sealed") for name in _SEALED]
    op.add_column("functions", sa.Column("settings_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.execute(
        f"UPDATE functions SET settings_bytes = {' + '.join(own)} "  # noqa: S608 – our names
        f"+ coalesce((SELECT sum({octets}(sealed) + length(name)) FROM secrets "
        "WHERE secrets.function_id = functions.id), 0) "
        f"+ coalesce((SELECT {octets}(sealed) FROM function_environments "
        "WHERE function_environments.function_id = functions.id), 0)"
    )
    op.create_index("functions_settings", "functions", ["project_id", "settings_bytes"])
    op.add_column("schedules", sa.Column("payload_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.execute(f"UPDATE schedules SET payload_bytes = {size('payload', 'text')}")  # noqa: S608 – our names
    op.drop_index("schedules_project", "schedules")
    op.create_index("schedules_project", "schedules", ["project_id", "payload_bytes"])


def _name(table: str, column: str) -> str:
    keys = sa.inspect(op.get_bind()).get_foreign_keys(table)
    return next(str(key["name"]) for key in keys if key["constrained_columns"] == [column])


def _reword() -> None:
    """SQLite's documented way to drop a constraint: the text of the table without it. Its rows stay where they are,
    which may be gigabytes.
    """
    connection = op.get_bind()
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    read = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?"
    write = "UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?"
    for table, column in _KEYS:
        before = connection.exec_driver_sql(read, (table,)).scalar_one()
        key = rf",\s*FOREIGN KEY\s*\({column}\)\s*REFERENCES\s+\"?\w+\"?\s*\(id\)\s+ON DELETE CASCADE"
        after, count = re.subn(key, "", before, flags=re.IGNORECASE)
        if count != 1:
            raise RuntimeError(f"cannot find the foreign key of {table}: {before}")
        connection.exec_driver_sql(write, (after, table))
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = RESET")
