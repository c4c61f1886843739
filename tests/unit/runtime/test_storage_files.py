"""The files of a project's stores, which a sandboxed process writes."""

from pathlib import Path

import pytest

from isolet.errors import PlatformError
from isolet.ids import ProjectId
from isolet.runtime.config import KV_SOCKET, unique_key
from isolet.runtime.storage.files import remove_store, replace, sizes, store_id

PROJECT = ProjectId("p1")


def test_the_size_is_that_of_all_files_and_of_nothing_that_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "large").write_bytes(bytes(100_000))
    folder = tmp_path / "projects" / PROJECT
    (folder / "objects" / "kv").mkdir(parents=True)
    (folder / "objects" / "kv" / "a").write_bytes(bytes(10))
    (folder / "lock").write_bytes(b"")
    links = {folder / "blobs": "elsewhere", folder / "objects" / "link": "elsewhere/large"}
    for link, target in links.items():
        link.symlink_to(tmp_path / target)

    own = sum(link.lstat().st_size for link in links)
    assert sizes(tmp_path / "projects", [PROJECT, ProjectId("p2")]) == [10 + own, 0]


def test_a_replacement_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    folder, fresh = tmp_path / PROJECT, tmp_path / "scratch" / "fresh"
    for part in (folder / "objects", fresh / "objects", fresh / "blobs"):
        part.mkdir(parents=True)
        (part / part.parent.name).touch()
    # A broken process removed the other one.
    with pytest.raises(FileNotFoundError):
        replace(folder, fresh)
    assert [path.name for path in folder.rglob("*")] == ["objects", PROJECT]


@pytest.mark.parametrize("part", ["blobs", "objects", f"objects/{unique_key(KV_SOCKET)}"])
def test_to_delete_a_store_removes_nothing_that_links_lead_to(tmp_path: Path, part: str) -> None:
    """Stores of one name have files of one name in all projects."""
    name = store_id(KV_SOCKET, "orders")
    for project in ("ours", "theirs"):
        for below in ("blobs", f"objects/{unique_key(KV_SOCKET)}"):
            (tmp_path / project / below).mkdir(parents=True)
            (tmp_path / project / below / f"{name}.sqlite").touch()
    (tmp_path / "theirs" / part).rename(tmp_path / "gone")
    (tmp_path / "theirs" / part).symlink_to(tmp_path / "ours" / part)

    with pytest.raises(PlatformError, match="is no folder of the stores"):
        remove_store(tmp_path / "theirs", KV_SOCKET, "orders")

    assert len(list((tmp_path / "ours").rglob("*.sqlite"))) == 2
