"""Whether a file is the one that was there, or a copy of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from isolet.place import place_of, same_place

PLACE = "2049 17 99 boot-a 1700000000.000000001"


@pytest.mark.parametrize(
    ("before", "same"),
    [
        (PLACE, True),
        ("2049 17 99 boot-a", True),
        ("2049 17 99 boot-a -", True),
        ("2050 17 99 boot-0 1700000000.000000001", True),
        ("2049 17 99 boot-a 1700000000.000000002", False),
        ("2049 18 99 boot-a 1700000000.000000001", False),
        ("2050 17 99 boot-a 1700000000.000000001", False),
        ("2050 17 98 boot-0 1700000000.000000001", False),
        ("2049 17 99", False),
        ("", False),
    ],
)
def test_a_file_is_told_by_its_number_its_age_and_its_file_system(before: str, same: bool) -> None:
    assert same_place(before, PLACE) is same


def test_what_is_moved_stays_itself_and_what_is_put_back_is_a_copy(tmp_path: Path) -> None:
    """Whatever number it gets: many file systems give it the one that has just become free."""
    file, kept = tmp_path / "isolet.db", tmp_path / "kept"
    file.write_text("content")
    before = place_of(file)
    if before.endswith(" -"):
        pytest.skip("this file system does not tell when a file was made")
    file.rename(tmp_path / "moved")
    assert same_place(before, place_of(tmp_path / "moved"))
    shutil.copy2(tmp_path / "moved", kept)
    # Until the clock of the file system has gone on.
    while place_of(kept).split()[-1] == before.split()[-1]:
        kept.unlink()
        shutil.copy2(tmp_path / "moved", kept)
    (tmp_path / "moved").unlink()
    shutil.copy2(kept, tmp_path / "moved")
    assert not same_place(before, place_of(tmp_path / "moved"))
