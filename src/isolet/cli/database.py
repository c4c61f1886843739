"""`isolet db`: the SQL databases of a project."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from isolet.cli import shown
from isolet.cli.commands import Commands
from isolet.cli.failures import Usage
from isolet.cli.output import Cell, binary
from isolet.cli.progress import waiting
from isolet.cli.session import Session

_HELP = """SQL databases of a project.

\b
isolet db migrate
isolet db query 'SELECT * FROM visits'
isolet db export > visits.sql
isolet db import visits.sql --replace
"""

app = Commands(_HELP)

Database = Annotated[str, typer.Option(help="The database.")]
Sql = Annotated[str, typer.Argument(help="The statement; - is standard input.", show_default=False)]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="VALUE", help="For each ? in turn: JSON, or text where it is none."),
]


@app.of_server("query")
def query(session: Session, sql: Sql, param: Params = None, database: Database = "default") -> None:
    """Print the rows of a query.

    \b
    isolet db query 'SELECT * FROM visits WHERE count > ?' -p 10
    """
    from isolet.contract.database import SqlQuery

    body = SqlQuery(sql=_text(sql), params=[_param(text) for text in param or []], rows="arrays")
    with waiting("Waiting for the database"):
        found = session.patient.database.query(session.project, body, database=database)
    names, rows = found.columns or [], [row for row in found.rows if isinstance(row, list)]
    if session.output.as_json:
        session.output.value([dict(zip(names, row, strict=False)) for row in rows])
    else:
        session.output.rows(names, rows)


@app.of_server("execute")
def execute(session: Session, sql: Sql, param: Params = None, database: Database = "default") -> None:
    """Run statements, apart by semicolons, in one transaction.

    \b
    isolet db execute 'DELETE FROM visits WHERE day < ?' -p 2026-01-01
    """
    from isolet.contract.database import SqlQuery

    body = SqlQuery(sql=_text(sql), params=[_param(text) for text in param or []])
    with waiting("Waiting for the database"):
        done = session.patient.database.query(session.project, body, database=database)
    session.output.done(done.to_json(), f"{done.changes} rows changed, {done.rows_read} read.")


@app.of_server("migrate")
def migrate(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of .sql files.")] = Path("migrations"),
    database: Database = "default",
    table: Annotated[str, typer.Option(help="The table of what was applied.")] = "d1_migrations",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be applied.")] = False,
) -> None:
    """Apply the .sql files of a folder that were not applied yet, by name; each is one transaction.

    What was applied is in the same table as wrangler's.
    """
    from isolet.cli import migrations

    applied: list[str] = []
    for name in migrations.pending(session.patient, session.project, folder, database=database, table=table):
        if not dry_run:
            migrations.apply(session.patient, session.project, folder / name, database=database, table=table)
        applied.append(name)
        if not session.output.as_json:
            session.output.line(("Would apply " if dry_run else "Applied ") + shown.line(name))
    if session.output.as_json:
        session.output.value({"applied": applied, "dry_run": dry_run})
    elif not applied:
        session.output.line("Everything is applied.")


@app.of_server("export")
def export(
    session: Session,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Else standard output.")] = None,
    database: Database = "default",
) -> None:
    """Write a database as SQL text."""
    with session.patient.database.export(session.project, database=database) as content:
        if file is None:
            binary(content)
            return
        try:
            with file.open("wb") as out:
                binary(content, out)
        except OSError as exc:
            raise Usage(f"cannot write {file}: {exc.strerror}") from exc
    session.output.done({"file": str(file)}, f"Wrote {file}.")


@app.of_server("import")
def import_text(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="SQL text; - is standard input.", show_default=False)],
    replace: Annotated[bool, typer.Option("--replace", help="Drop all tables and views first.")] = False,
    database: Database = "default",
) -> None:
    """Run SQL text in one transaction."""
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as exc:
        raise Usage(f"cannot read {file}: {exc.strerror}") from exc
    with waiting("Importing"):
        done = session.patient.database.import_text(session.project, content, replace=replace, database=database)
    session.output.done(done.to_json(), f"Ran {done.statements} statements.")


@app.of_server("tables")
def tables(session: Session, database: Database = "default") -> None:
    """List tables and how many rows they have."""
    columns: dict[str, Cell] = {"TABLE": "name", "ROWS": "rows"}
    session.output.items(session.client.database.get(session.project, database=database).tables, columns)


def _text(sql: str) -> str:
    return sys.stdin.read() if sql == "-" else sql


def _param(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
