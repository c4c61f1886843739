"""`isolet restore`: puts a backup where a server finds it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isolet.cli import asking
from isolet.cli.commands import Commands, Yes
from isolet.cli.session import Session

app = Commands()


@app.local()
def restore(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What isolet backup wrote.", show_default=False)],
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="ISOLET_DATA_DIR", help="The data directory of a stopped server.")
    ] = Path(".isolet"),
    yes: Yes = False,
) -> None:
    """Put a backup into the data directory of a stopped server. What was there is kept beside it.

    \b
    isolet restore isolet-2026-01-31.backup --data-dir /var/lib/isolet
    """
    from isolet.cli.server_archive import restore as put

    asking.confirm(f"Put {file} into {data_dir}?", yes=yes)
    told = put(file, data_dir)
    session.output.done(told, "\n".join(_sentences(told)))


def _sentences(told: dict[str, object]) -> list[str]:
    lines = [f"Restored {told['projects']} projects to {told['data_dir']}."]
    if told["replaced"]:
        lines.append(f"What was there is in {told['replaced']}.")
    if told["database_archive"]:
        lines.append(
            f"The database is PostgreSQL's: pg_restore --clean --if-exists -d DATABASE {told['database_archive']}"
        )
    if not told["has_master_key"]:
        lines.append(f"Put the master key into {told['data_dir']}/master-key, or ISOLET_MASTER_KEY, before the start.")
    lines.append("Schedules and calls that were queued wait for isolet serve --adopt: the original may still run them.")
    return lines
