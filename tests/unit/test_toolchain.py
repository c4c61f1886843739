from pathlib import Path

import pytest

from isolet import toolchain
from isolet.errors import SettingsError


@pytest.mark.parametrize("name", ["workerd", "esbuild"])
def test_a_program_that_is_not_there_is_told(tmp_path: Path, name: str) -> None:
    text = tmp_path / "text"
    text.touch()
    for path in (tmp_path / "none", text):
        with pytest.raises(SettingsError, match=f"^cannot use {path} as {name}: there is no program of that name$"):
            toolchain.find(**{name: path})


def test_a_program_is_found_from_every_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/usr/bin")
    assert toolchain.find(workerd=Path("true")).workerd == Path("/usr/bin/true")
