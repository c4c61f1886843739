"""The files of a project's stores, which a sandboxed process writes."""

from pathlib import Path

from isolet.ids import ProjectId
from isolet.runtime.storage.files import sizes

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
