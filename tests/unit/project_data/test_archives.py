"""What a backup may hold, and what it may not, by the files on the disk."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from isolet.errors import PlatformError, TooLarge
from isolet.project_data.backup import _pack, unpack

_MB = 1024 * 1024


def archive(*members: tuple[str, bytes]) -> io.BytesIO:
    """A backup of members of no size, each a name and a type."""
    file = io.BytesIO()
    told = {"files": len(members), "bytes": 0, "crc32": None, "stores": {}}
    manifest = json.dumps(told).encode()
    with tarfile.open(fileobj=file, mode="w") as written:
        mark = tarfile.TarInfo("isolet-backup-1")
        mark.size = len(manifest)
        written.addfile(mark, io.BytesIO(manifest))
        for name, kind in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            written.addfile(member)
    return file


@pytest.mark.parametrize(
    ("name", "kind"),
    [("objects/{}", tarfile.DIRTYPE), ("blobs/isolet/{}", tarfile.REGTYPE), ("blobs/{}/a/b/c/d/e/f", tarfile.REGTYPE)],
    ids=["folders", "empty files", "folders of empty files"],
)
def test_files_and_folders_without_end_are_refused(tmp_path: Path, name: str, kind: bytes) -> None:
    """They cost a file system a place each, and no byte of what a project may store."""
    file = archive(*((name.format(n), kind) for n in range(2_001)))
    with pytest.raises(TooLarge, match="more files and folders than the project may store: 2000"):
        unpack(file, tmp_path / "fresh", _MB)
    assert len(list((tmp_path / "fresh").rglob("*"))) <= 2_000


def test_more_room_is_for_more_files(tmp_path: Path) -> None:
    file = archive(*((f"blobs/isolet/{n}", tarfile.REGTYPE) for n in range(1_000)))
    unpack(file, tmp_path / "fresh", 64 * _MB)
    assert len(list((tmp_path / "fresh/blobs/isolet").iterdir())) == 1_000


def test_a_link_that_the_check_of_a_copy_left_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "copy/objects").mkdir(parents=True)
    (tmp_path / "copy/objects/a.sqlite").write_bytes(b"a")
    (tmp_path / "copy/objects/b").symlink_to("/dev/zero")
    with pytest.raises(PlatformError, match="'b' is no plain file"):
        _pack(tmp_path / "copy", tmp_path / "backup.tar", {})
