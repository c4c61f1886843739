"""Storage processes of a server as the machine sees them, and the files they keep."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.support.server import Server


def storage_processes(server: Server, project_id: str) -> list[psutil.Process]:
    """The workerd processes (without bubblewrap around them) on a project's files."""
    found = []
    for process in server.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            arguments = process.cmdline()
            if arguments[:1] != ["/workerd"] or not any(part.startswith("--socket-fd=kv=") for part in arguments):
                continue
            if str(folder(server, project_id)) in process.parent().cmdline():
                found.append(process)
    return found


def folder(server: Server, project_id: str) -> Path:
    return server.data_dir / "projects" / project_id


@contextlib.contextmanager
def kv_index(server: Server, project_id: str) -> Iterator[sqlite3.Connection]:
    """The index of a project's KV, which must not be in use."""
    (file,) = [
        path
        for path in (folder(server, project_id) / "objects" / "isolet-kv").glob("*.sqlite")
        if path.name != "metadata.sqlite"
    ]
    with contextlib.closing(sqlite3.connect(file)) as connection:
        yield connection
        connection.commit()
