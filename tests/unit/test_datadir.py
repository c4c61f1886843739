import tempfile
from pathlib import Path

import pytest

from isolet.datadir import run_folder
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
