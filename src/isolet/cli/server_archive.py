"""The file of `isolet backup`: a tar of the server's database, its root key and the backup of each project.

Its first member says what it is. It is written beside its place and takes it when it is whole; it is unpacked beside
what it replaces. Nothing of it is believed: names of members are looked up, and the backups of projects are checked as
by the server that restores one.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from isolet import __version__, datadir
from isolet.cli.failures import Usage
from isolet.cli.output import paged
from isolet.cli.progress import waiting
from isolet.cli.session import Session
from isolet.errors import InvalidInput, SettingsError
from isolet.ids import is_uuid
from isolet.project_data.archive import NO_BACKUP, Member, members
from isolet.project_data.backup import unpack

_MARK = "isolet-server-1"
_DATABASE, _ROOT_KEY, _PROJECTS = "database", "root-key", "projects"
_ARCHIVE = "isolet.pgdump"
_SQLITE = b"SQLite format 3\0"
_SMALL_MAX_BYTES = 1024 * 1024
_MOST_BYTES = 2**62
_RESTORED = ("isolet.db", _ARCHIVE, "projects", _ROOT_KEY)
# What a server made of its database's file, that belongs to the file before.
_REPLACED = ("isolet.db", "isolet.db-wal", "isolet.db-shm", "projects", "root-key")


def write(session: Session, file: Path) -> dict[str, Any]:
    """Raises ApiError, SettingsError for a file that cannot be written, and Usage for one that is there."""
    if file.exists():
        raise Usage(f"{file} is there already")
    try:
        with tempfile.TemporaryDirectory(dir=file.absolute().parent, prefix=f".{file.name[:100]}-") as scratch:
            whole = Path(scratch) / "whole"
            count = _write(session, whole, Path(scratch) / "part")
            size = whole.stat().st_size
            os.replace(whole, file)
    except OSError as exc:
        raise SettingsError(f"cannot write {file}: {exc.strerror}") from exc
    return {"file": str(file), "projects": count, "size_bytes": size}


def _write(session: Session, whole: Path, part: Path) -> int:
    client, count = session.patient, 0
    descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out, tarfile.open(fileobj=out, mode="w") as archive:
        with waiting("Backing up the database"), client.backups.download_database() as content:
            _spool(content, part)
        made = datetime.now(UTC).isoformat(timespec="seconds")
        _add(archive, _MARK, json.dumps({"version": __version__, "created_at": made}).encode(), part.with_name("mark"))
        archive.add(part, arcname=_DATABASE)
        _add(archive, _ROOT_KEY, session.target.key.encode(), part.with_name("key"))
        # After the database, so that each project in it has its stores.
        for project in paged(lambda size, cursor: client.projects.list(limit=size, cursor=cursor), None):
            with (
                waiting(f"Backing up the project {project.slug}"),
                client.backups.download(project.slug) as content,
            ):
                _spool(content, part)
            archive.add(part, arcname=f"{_PROJECTS}/{project.id}.tar")
            count += 1
    return count


def _add(archive: tarfile.TarFile, name: str, content: bytes, part: Path) -> None:
    part.write_bytes(content)
    archive.add(part, arcname=name)


def _spool(content: Iterator[bytes], part: Path) -> None:
    with part.open("wb") as file:
        for piece in content:
            file.write(piece)


def restore(file: Path, data: Path) -> dict[str, Any]:
    """Raises InvalidInput for what is no backup, and SettingsError for a directory that a server runs on."""
    if not file.is_file():
        raise Usage(f"there is no file {file}")
    with (
        datadir.locked(data, to_restore=True) as folder,
        tempfile.TemporaryDirectory(dir=folder, prefix=datadir.RESTORE_PREFIX) as scratch,
    ):
        try:
            fresh = Path(scratch)
            with file.open("rb") as opened:
                count = _unpack(opened, fresh)
            archive = _check_database(fresh)
            replaced = _swap(fresh, folder)
        except OSError as exc:
            raise SettingsError(f"cannot restore {file} to {folder}: {exc.strerror}") from exc
        return {
            "data_dir": str(folder),
            "projects": count,
            "replaced": None if replaced is None else str(replaced),
            "database_archive": str(folder / archive) if archive else None,
            "has_master_key": (folder / "master-key").exists() or bool(os.environ.get("ISOLET_MASTER_KEY")),
        }


def _unpack(file: IO[bytes], fresh: Path) -> int:
    found = members(file)
    mark = next(found, None)
    if mark is None or mark.name != _MARK:
        raise InvalidInput(f"{NO_BACKUP} of a server")
    mark.content(_SMALL_MAX_BYTES)
    (fresh / "projects").mkdir(mode=0o700)
    count, seen = 0, set()
    for member in found:
        if member.name in seen or member.is_folder:
            raise InvalidInput(f"{NO_BACKUP}: it holds {member.name!r}")
        seen.add(member.name)
        if member.name in (_DATABASE, _ROOT_KEY):
            _save(member, fresh / member.name)
        else:
            _unpack_project(member, fresh)
            count += 1
    if _DATABASE not in seen:
        raise InvalidInput(f"{NO_BACKUP}: it is not complete")
    return count


def _unpack_project(member: Member, fresh: Path) -> None:
    folder, _, name = member.name.partition("/")
    project_id = name.removesuffix(".tar")
    if folder != _PROJECTS or not name.endswith(".tar") or not is_uuid(project_id):
        raise InvalidInput(f"{NO_BACKUP}: it holds {member.name!r}")
    part = fresh / "part"
    _save(member, part)
    with part.open("rb") as file:
        unpack(file, fresh / "projects" / project_id, _MOST_BYTES)
    part.unlink()


def _save(member: Member, path: Path) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        for piece in member.parts():
            out.write(piece)


def _check_database(fresh: Path) -> str | None:
    """The name of an archive of PostgreSQL's; None for a database of SQLite, which is checked."""
    file = fresh / _DATABASE
    with file.open("rb") as opened:
        is_sqlite = opened.read(len(_SQLITE)) == _SQLITE
    if not is_sqlite:
        file.rename(fresh / _ARCHIVE)
        return _ARCHIVE
    try:
        with closing(sqlite3.connect(file)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                raise InvalidInput(f"{NO_BACKUP}: its database is damaged")
    except sqlite3.Error as exc:
        raise InvalidInput(f"{NO_BACKUP}: its database is damaged: {exc}") from exc
    file.rename(fresh / "isolet.db")
    return None


def _swap(fresh: Path, folder: Path) -> Path | None:
    """Put what is new in its place; where that is which was there, None for nothing.

    All of it or, when it raises OSError, nothing. If it is killed half-way, no server starts on what is there then.
    """
    there = [folder / name for name in _REPLACED if (folder / name).exists()]
    replaced = folder / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    if there:
        replaced.mkdir(mode=0o700)
    moves = [(path, replaced / path.name) for path in there]
    moves += [(fresh / name, folder / name) for name in _RESTORED if (fresh / name).exists()]
    datadir.begin_restore(folder)
    for done, (old, new) in enumerate(moves):
        try:
            os.replace(old, new)
        except OSError:
            for before, after in reversed(moves[:done]):
                os.replace(after, before)
            if there:
                replaced.rmdir()
            datadir.end_restore(folder)
            raise
    datadir.end_restore(folder)
    return replaced if there else None
