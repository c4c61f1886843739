import os
import stat
from pathlib import Path

import pytest

from isolet.errors import SettingsError
from isolet.keyfile import load_or_create, write


def _never() -> str:
    raise AssertionError("a key was made although there is one")


def test_a_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert load_or_create(path, lambda: "isk_made") == ("isk_made", True)
    assert load_or_create(path, _never) == ("isk_made", False)


def test_a_key_is_for_the_operators_eyes_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    load_or_create(path, lambda: "isk_made")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_that_the_operator_wrote_is_taken_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("  by-hand \n")
    assert load_or_create(path, _never) == ("by-hand", False)


@pytest.mark.parametrize("left", ["", "\n"])
def test_a_file_without_a_key_gets_one(tmp_path: Path, left: str) -> None:
    path = tmp_path / "key"
    path.write_text(left)
    assert load_or_create(path, lambda: "isk_made") == ("isk_made", True)
    assert path.read_text() == "isk_made\n"


def test_a_key_that_could_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> str:
        raise RuntimeError("no entropy")

    with pytest.raises(RuntimeError, match="no entropy"):
        load_or_create(tmp_path / "key", fail)
    assert list(tmp_path.iterdir()) == []


def test_only_the_key_is_left_in_the_folder(tmp_path: Path) -> None:
    load_or_create(tmp_path / "key", lambda: "isk_made")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_key_takes_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write(path, "a-much-longer-key")
    write(path, "short")
    assert path.read_text() == "short\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["key"]


def test_what_a_crash_left_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "key"
    (tmp_path / "key.partial").write_text("half of a much longer key that was not finis")
    write(path, "new")
    assert path.read_text() == "new\n"
    assert [found.name for found in tmp_path.iterdir()] == ["key"]


def test_a_file_that_holds_no_key_is_told(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=f"^cannot use {path}: it holds no text$"):
        load_or_create(path, _never)
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingsError, match=f"^cannot use {path}: Is a directory$"):
        load_or_create(path, _never)


def test_a_write_that_fails_leaves_the_old_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write(path, "old")
    (tmp_path / "key.partial").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        write(path, "new")
    assert path.read_text() == "old\n"


def test_a_reader_sees_the_old_key_or_the_new_one_and_never_a_part(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write(path, "old")
    with path.open() as opened:
        write(path, "new")
        assert opened.read() == "old\n", "the old file was replaced, not written over"
        assert os.fstat(opened.fileno()).st_nlink == 0
    assert path.read_text() == "new\n"
