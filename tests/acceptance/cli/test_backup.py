"""`isolet backup` of a running server and `isolet restore` of a stopped one."""

from __future__ import annotations

import io
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.isolet_command import Isolet
from tests.support.server import Server


def isolet_of(server: Server, folder: Path, key: str | None = None) -> Isolet:
    return Isolet(folder, ISOLET_URL=server.url, ISOLET_API_KEY=server.root_key if key is None else key)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`, of a server that was stopped, and `file`, its backup."""
    folder = tmp_path_factory.mktemp("saved")
    code = "export default async (_, env) => Response.json([env.TOKEN, await env.KV.get('k'), env.NAME])"
    with Server(folder / "data", root_key=None) as server:
        server.root_key = (folder / "data/root-key").read_text().strip()
        with server.client() as root:
            root.post("/isolet/v1/projects", json={"slug": "shop"})
            for project in ("default", "shop"):
                body = {"code": code, "variables": {"NAME": project}}
                reply = root.put(f"/isolet/v1/projects/{project}/functions/keeper?wait=120", json=body)
                assert reply.is_success, reply.text
        isolet = isolet_of(server, folder)
        isolet("secrets", "set", "TOKEN", "--function", "keeper", "--project", "shop", given="s3cret")
        isolet("kv", "put", "k", "v", "--project", "shop")
        isolet("db", "execute", "CREATE TABLE t (a); INSERT INTO t VALUES ('ü')", "--project", "shop")
        told = isolet("backup", str(folder / "file"), "--json").json
        assert (told["projects"], told["size_bytes"]) == (2, (folder / "file").stat().st_size)
        assert isolet.run("backup", str(folder / "file")).code == 2
        assert isolet.run("backup", str(folder / "none" / "file")).code == 1
        key = isolet("keys", "create", "admin", "--role", "admin", "--project", "shop").text.strip()
        assert isolet_of(server, folder, key).run("backup", str(folder / "other")).code == 5
        assert sorted(path.name for path in folder.iterdir()) == ["data", "data.log", "file"]
        running = isolet.run("restore", str(folder / "file"), "--data-dir", str(folder / "data"))
        assert (running.code, "another Isolet server runs on it" in running.err) == (1, True)
    return folder


def test_a_backup_is_its_users_alone_and_holds_no_master_key(saved: Path) -> None:
    assert stat.S_IMODE((saved / "file").stat().st_mode) == 0o600
    content = (saved / "file").read_bytes()
    assert (saved / "data/master-key").read_text().strip().encode() not in content
    assert b"s3cret" not in content


def answers(saved: Path, data: Path) -> None:
    with Server(data, root_key=None) as server:
        server.root_key = (saved / "data/root-key").read_text().strip()
        isolet = isolet_of(server, saved)
        assert isolet("invoke", "keeper", "--project", "shop").json == ["s3cret", "v", "shop"]
        assert isolet("db", "query", "SELECT a FROM t", "--project", "shop", "--json").json == [{"a": "ü"}]


def test_a_server_starts_on_what_was_restored_to_an_empty_folder(saved: Path, tmp_path: Path) -> None:
    isolet = Isolet(tmp_path)
    told = isolet("restore", str(saved / "file"), "--data-dir", str(tmp_path / "new"), "--json").json
    assert (told["projects"], told["replaced"], told["has_master_key"]) == (2, None, False)
    shutil.copy(saved / "data/master-key", tmp_path / "new/master-key")
    answers(saved, tmp_path / "new")


def test_what_was_there_is_kept(saved: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(saved / "data", data, ignore=shutil.ignore_patterns("run"))
    (data / "isolet.db").write_bytes(b"broken")
    shutil.rmtree(data / "projects")
    told = Isolet(tmp_path)("restore", str(saved / "file"), "--data-dir", str(data), "--json").json
    assert Path(told["replaced"], "isolet.db").read_bytes() == b"broken"
    assert told["has_master_key"] is True
    answers(saved, data)


def changed(file: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(file) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            content = old.extractfile(member)
            assert content is not None
            kept = change(member.name, content.read())
            if kept is not None:
                info = tarfile.TarInfo(kept[0])
                info.size = len(kept[1])
                new.addfile(info, io.BytesIO(kept[1]))
    return out.getvalue()


CHANGES: dict[str, Callable[[str, bytes], tuple[str, bytes] | None]] = {
    "no mark": lambda name, content: None if name.startswith("isolet") else (name, content),
    "no database": lambda name, content: None if name == "database" else (name, content),
    "a path": lambda name, content: (name.replace("root-key", "../root-key"), content),
    "a path of a project": lambda name, content: (name.replace("projects/", "projects/../../"), content),
    "another file": lambda name, content: (name.replace("root-key", "master-key"), content),
    "a torn database": lambda name, content: (name, content[:5000] if name == "database" else content),
    "a torn project": lambda name, content: (name, content[:-2000] if name.startswith("projects") else content),
    "twice": lambda name, content: ("database" if name == "root-key" else name, content),
}


@pytest.mark.parametrize("what", [*CHANGES, "cut off", "empty", "a backup of a project"])
def test_what_is_no_backup_is_refused_and_changes_nothing(saved: Path, tmp_path: Path, what: str) -> None:
    whole = (saved / "file").read_bytes()
    file = tmp_path / "file"
    if what in CHANGES:
        file.write_bytes(changed(saved / "file", CHANGES[what]))
    elif what == "a backup of a project":
        with tarfile.open(saved / "file") as archive:
            inner = archive.extractfile(archive.getmembers()[-1])
            assert inner is not None
            file.write_bytes(inner.read())
    else:
        file.write_bytes(whole[: len(whole) // 2] if what == "cut off" else b"")
    data = tmp_path / "data"
    data.mkdir()
    (data / "isolet.db").write_bytes(b"there")
    result = Isolet(tmp_path).run("restore", str(file), "--data-dir", str(data))
    assert (result.code, "not a backup" in result.err) == (1, True), result.err
    assert sorted(path.name for path in data.iterdir()) == ["isolet.db", "lock"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "file"]


def test_an_archive_of_postgresql_is_left_for_its_own_program(saved: Path, tmp_path: Path) -> None:
    def dumped(name: str, content: bytes) -> tuple[str, bytes]:
        return name, b"PGDMP archive" if name == "database" else content

    (tmp_path / "file").write_bytes(changed(saved / "file", dumped))
    done = Isolet(tmp_path)("restore", str(tmp_path / "file"), "--data-dir", str(tmp_path / "data"))
    assert f"pg_restore --clean --if-exists -d DATABASE {tmp_path}/data/isolet.pgdump" in done.text
    assert (tmp_path / "data/isolet.pgdump").read_bytes() == b"PGDMP archive"
    assert len(list((tmp_path / "data/projects").iterdir())) == 2


def test_a_restore_that_cannot_take_a_place_changes_nothing(saved: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "isolet.pgdump" / "in the way").mkdir(parents=True)
    (data / "isolet.db").write_bytes(b"there")
    (data / "root-key").write_bytes(b"there, too")

    def dumped(name: str, content: bytes) -> tuple[str, bytes]:
        return name, b"PGDMP archive" if name == "database" else content

    (tmp_path / "file").write_bytes(changed(saved / "file", dumped))
    failed = Isolet(tmp_path).run("restore", str(tmp_path / "file"), "--data-dir", str(data))
    assert (failed.code, f"cannot restore {tmp_path}/file" in failed.err) == (1, True), failed.err
    assert sorted(path.name for path in data.iterdir()) == ["isolet.db", "isolet.pgdump", "lock", "root-key"]
    assert (data / "isolet.db").read_bytes() == b"there"


def test_no_server_starts_on_a_restore_that_was_cut_off_until_there_is_another(saved: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / ".restore-x" / "projects").mkdir(parents=True)
    (data / "restoring").touch()
    (data / "root-key").write_bytes(b"of before")
    said = r"the server ended with 1: .*was cut off; run isolet restore again"
    with pytest.raises(AssertionError, match=said), Server(data):
        raise AssertionError("it started")
    assert sorted(path.name for path in data.iterdir()) == [".restore-x", "lock", "restoring", "root-key"]
    told = Isolet(tmp_path)("restore", str(saved / "file"), "--data-dir", str(data), "--json").json
    assert Path(told["replaced"], "root-key").read_bytes() == b"of before"
    assert not [path.name for path in data.iterdir() if path.name.startswith((".restore-", "restoring"))]
