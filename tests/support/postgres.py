"""A real PostgreSQL for tests, from Debian's package: its own data directory, and no port that another could take."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from sqlalchemy import make_url

from isolet.database import migrate
from isolet.database.engine import open_engines
from tests.support.waiting import wait_until

_UNPRIVILEGED = "nobody"
_TEMPLATE = "template_of_tests"
# Tests look at what is there after a crash of ours, never of the machine's.
_FAST = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
# A database that is dropped is looked for in every buffer, and what is copied as files is not logged, page by page.
_SMALL = ("-c", "shared_buffers=32MB")
_COPIED = "STRATEGY FILE_COPY"


class Postgres:
    """Use it as a context manager. It runs as `nobody` when the tests run as root, which it refuses to be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._migrated = False
        self._account = pwd.getpwnam(_UNPRIVILEGED) if os.getuid() == 0 else None
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        data = folder / "data"
        self._run([_program("initdb"), "--pgdata", str(data), "--auth=trust", "--username=isolet", "--encoding=UTF8"])
        options = ("-k", str(folder), "-h", "", *_FAST, *_SMALL)
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [_program("postgres"), "-D", str(data), *options],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            **self._as_account(),
        )

    @contextmanager
    def temporary(self, *, schema: bool = False, copy_of: str | None = None) -> Iterator[str]:
        """The URL of a new database with nothing in it, which leaves at the end; `schema` makes it one of ours.

        With `copy_of`, the URL of a database that nobody uses now, it holds what that one does.
        """
        name = f"test_{uuid.uuid4().hex}"
        template = self._template() if schema else "template1"
        if copy_of is not None:
            template = str(make_url(copy_of).database)
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} {_COPIED}")
        try:
            yield self._url(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def dump(self, url: str) -> str:
        """All of a database as text."""
        return self._run([_program("pg_dump"), url])

    def _template(self) -> str:
        """A migrated database that each test gets a copy of, made when it is first asked for."""
        if not self._migrated:
            self._execute(f"CREATE DATABASE {_TEMPLATE}")
            migrated(self._url(_TEMPLATE))
            self._migrated = True
        return _TEMPLATE

    def _execute(self, statement: str) -> None:
        self._administrator.execute(statement)

    def _url(self, name: str) -> str:
        return f"postgresql://isolet@/{name}?host={self._folder}"

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended: {(self._folder / 'log').read_text()}")
        try:
            self._administrator = psycopg.connect(self._url("postgres"), autocommit=True)
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, command: Sequence[str]) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **self._as_account())
        if done.returncode != 0:
            raise AssertionError(f"{command[0]} failed: {done.stderr}")
        return done.stdout

    def _as_account(self) -> dict[str, object]:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        if self._account is None:
            return {"env": environment, "cwd": self._folder}
        return {
            "env": environment,
            "cwd": self._folder,
            "user": self._account.pw_uid,
            "group": self._account.pw_gid,
            "extra_groups": [],
        }

    def __enter__(self) -> Self:
        wait_until(self._ready, what="PostgreSQL")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._administrator.close()
        # "Immediate shutdown": nothing of it is kept.
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(60)
        self._log.close()


def migrated(url: str) -> None:
    """Give a database the newest schema."""
    engines = open_engines(url)
    try:
        migrate.upgrade(engines.writer)
    finally:
        engines.dispose()


def _program(name: str) -> str:
    """Debian keeps the servers of several versions apart, and off the PATH."""
    found = shutil.which(name)
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if found is None and not versions:
        raise AssertionError(f"{name} is missing: `make setup-dev` installs PostgreSQL")
    return found or str(versions[-1])
