"""Fixtures of the integration tests: databases, and the parts of the runtime around the real workerd."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from isolet.database.connection import Database
from isolet.database.engine import sqlite_url
from isolet.runtime.config import ConfigBuilder
from isolet.runtime.pid_files import PidFiles
from isolet.runtime.pool import Pool
from isolet.runtime.sandbox import Sandbox
from isolet.toolchain import Toolchain, find
from tests.support.postgres import migrated
from tests.support.runtime import Lines, Runtime


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a schema, of each kind that is named here."""
    if request.param == "postgresql":
        with request.getfixturevalue("postgres").temporary() as url:
            yield url
    else:
        yield sqlite_url(tmp_path / "isolet.db")


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file at the newest schema, with nothing in it, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "isolet.db"
    migrated(sqlite_url(path))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database at the newest schema, with nothing in it. Every store test runs on each kind that is named here."""
    if request.param == "postgresql":
        with request.getfixturevalue("postgres").temporary(schema=True) as url:
            yield url
    else:
        yield sqlite_url(shutil.copyfile(request.getfixturevalue("migrated_sqlite"), tmp_path / "isolet.db"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database at the newest schema."""
    opened = Database(database_url)
    try:
        await opened.open()
        yield opened
    finally:
        await opened.close()


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    return find()


@pytest.fixture(scope="session")
def sandbox(toolchain: Toolchain) -> Sandbox:
    return Sandbox(toolchain, enabled=True)


@pytest.fixture(scope="session")
def configs(toolchain: Toolchain) -> ConfigBuilder:
    return ConfigBuilder(toolchain.workerd_schema)


@pytest.fixture
def run_folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="isolet-") as folder:
        yield Path(folder)


@pytest.fixture
def pid_files(run_folder: Path) -> PidFiles:
    return PidFiles(run_folder / "pids")


@pytest.fixture
def runtime(run_folder: Path, configs: ConfigBuilder, sandbox: Sandbox, pid_files: PidFiles) -> Runtime:
    return Runtime(folder=run_folder, configs=configs, sandbox=sandbox, pid_files=pid_files)


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
async def pool(runtime: Runtime, lines: Lines) -> AsyncIterator[Pool]:
    async with runtime.pool(lines) as opened:
        yield opened
