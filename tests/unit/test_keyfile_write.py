"""`keyfile.write`: a key takes another's place whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from isolet import keyfile


def test_a_key_takes_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "key"
    keyfile.write(path, "a-much-longer-key")
    keyfile.write(path, "short")
    assert path.read_text() == "short\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["key"]


def test_what_a_crash_left_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "key"
    (tmp_path / "key.partial").write_text("half of a much longer key that was not finis")
    keyfile.write(path, "new")
    assert path.read_text() == "new\n"
    assert [found.name for found in tmp_path.iterdir()] == ["key"]


def test_a_write_that_fails_leaves_the_old_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    keyfile.write(path, "old")
    (tmp_path / "key.partial").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        keyfile.write(path, "new")
    assert path.read_text() == "old\n"


def test_a_reader_sees_the_old_key_or_the_new_one_and_never_a_part(tmp_path: Path) -> None:
    path = tmp_path / "key"
    keyfile.write(path, "old")
    with path.open() as opened:
        keyfile.write(path, "new")
        assert opened.read() == "old\n", "the old file was replaced, not written over"
        assert os.fstat(opened.fileno()).st_nlink == 0
    assert path.read_text() == "new\n"
