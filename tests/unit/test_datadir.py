import tempfile
from pathlib import Path

import pytest

from isolet.datadir import locked, run_folder
from isolet.errors import SettingsError


def test_a_run_folder_that_cannot_be_made_is_told() -> None:
    # A folder of its own with a short path: others get a run folder elsewhere.
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        run.touch()
        with pytest.raises(SettingsError, match=f"^cannot use {run}: File exists$"):
            run_folder(Path(folder))


def test_a_run_folder_that_somebody_linked_elsewhere_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as elsewhere:
        run = Path(folder) / "run"
        run.symlink_to(elsewhere)
        with pytest.raises(SettingsError, match=f"^cannot use {run}: it must belong to this user and be closed"):
            run_folder(Path(folder))


def test_a_run_folder_whose_sockets_would_have_too_long_a_path_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("n" * 80)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with pytest.raises(
        SettingsError, match=r"^cannot use .* as data directory: its path, and that of .*, is too long$"
    ):
        run_folder(long)


def test_who_removes_the_lock_lets_no_second_server_in(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / "lock").unlink()
        with (
            pytest.raises(SettingsError, match="another Isolet server runs on it"),
            locked(tmp_path),
        ):
            pass
    with locked(tmp_path) as folder:
        assert folder == tmp_path
