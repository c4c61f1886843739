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
