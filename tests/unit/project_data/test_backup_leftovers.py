"""What a backup or a restore leaves when the server is killed, and what the next start makes of it."""

from pathlib import Path

import pytest

from isolet.project_data.backup import tidy
from isolet.runtime.storage.files import undo_replacements

PROJECT = "0198c1de-0000-7000-8000-000000000001"


def lay(data: Path, *files: str) -> None:
    """Files whose content is the first word of their own name."""
    for name in files:
        file = data / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name.split("-")[0])


def found(data: Path) -> set[str]:
    return {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}


def test_temporary_files_go_and_stores_stay(tmp_path: Path) -> None:
    lay(tmp_path, f"{PROJECT}/objects/a", ".backup-x/copy/objects/a", ".backup-x/backup.tar", ".upload-y")

    tidy(tmp_path)

    assert found(tmp_path) == {f"{PROJECT}/objects/a"}
    assert [path.name for path in tmp_path.iterdir()] == [PROJECT]


SCRATCH = f".restore-{PROJECT}.abc"


@pytest.mark.parametrize(
    "files",
    [
        (
            f"{PROJECT}/objects/old",
            f"{PROJECT}/blobs/old",
            f"{SCRATCH}/fresh/objects/new",
            f"{SCRATCH}/fresh/blobs/new",
        ),
        (
            f"{PROJECT}/blobs/old",
            f"{SCRATCH}/old/objects/old",
            f"{SCRATCH}/fresh/objects/new",
            f"{SCRATCH}/fresh/blobs/b",
        ),
        (f"{PROJECT}/objects/new", f"{PROJECT}/blobs/old", f"{SCRATCH}/old/objects/old", f"{SCRATCH}/fresh/blobs/new"),
        (
            f"{PROJECT}/objects/new",
            f"{SCRATCH}/old/objects/old",
            f"{SCRATCH}/old/blobs/old",
            f"{SCRATCH}/fresh/blobs/new",
        ),
    ],
    ids=["before", "one folder out", "one folder replaced", "one replaced, one out"],
)
def test_a_restore_that_was_cut_off_is_undone(tmp_path: Path, files: tuple[str, ...]) -> None:
    lay(tmp_path, *files)

    undo_replacements(tmp_path)

    assert found(tmp_path) == {f"{PROJECT}/objects/old", f"{PROJECT}/blobs/old"}


def test_a_restore_that_was_done_stays_done(tmp_path: Path) -> None:
    lay(tmp_path, f"{PROJECT}/objects/new", f"{PROJECT}/blobs/new", f"{SCRATCH}/old/blobs/old")
    (tmp_path / SCRATCH / "fresh").mkdir()

    undo_replacements(tmp_path)

    assert found(tmp_path) == {f"{PROJECT}/objects/new", f"{PROJECT}/blobs/new"}
