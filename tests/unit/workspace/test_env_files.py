"""Variables of development are read as other tools do."""

from pathlib import Path

import pytest

from isolet.workspace.env_files import read_env_files
from isolet.workspace.errors import WorkspaceError

TEXT = r"""
# a comment
PLAIN=one two   # behind a space
export EXPORTED = yes
HASH=a#b
EMPTY=
SINGLE='a "b" \n $c'
DOUBLE="line\nbreak \"q\" \\ # kept"
LINES="first
second"
EQUALS=a=b=c
"""


def test_values_and_quotes(tmp_path: Path) -> None:
    (tmp_path / ".dev.vars").write_text(TEXT)
    (tmp_path / ".env").write_text("PLAIN=not read")
    assert read_env_files(tmp_path, None) == {
        "PLAIN": "one two",
        "EXPORTED": "yes",
        "HASH": "a#b",
        "EMPTY": "",
        "SINGLE": 'a "b" \\n $c',
        "DOUBLE": 'line\nbreak "q" \\ # kept',
        "LINES": "first\nsecond",
        "EQUALS": "a=b=c",
    }


def test_an_environment_has_files_of_its_own(tmp_path: Path) -> None:
    assert read_env_files(tmp_path, None) == {}
    (tmp_path / ".env").write_text("A=1\nB=1")
    (tmp_path / ".env.staging").write_text("B=2")
    assert read_env_files(tmp_path, "staging") == {"A": "1", "B": "2"}
    (tmp_path / ".dev.vars.staging").write_text("C=3")
    assert read_env_files(tmp_path, "staging") == {"C": "3"}


@pytest.mark.parametrize(("text", "said"), [(b"A=1\nB 2", ".env:2: must be NAME=value"), (b"\xff", "is not UTF-8")])
def test_what_is_wrong_is_named(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / ".env").write_bytes(text)
    with pytest.raises(WorkspaceError, match=said):
        read_env_files(tmp_path, None)


@pytest.mark.parametrize(
    "text", ['A="' + "\n" * 250_000, "A='\n" * 60_000, 'A="' + "\\" * 250_000, "A=" + " #" * 120_000]
)
def test_no_text_takes_long(tmp_path: Path, text: str) -> None:
    """Looking for the end of a quote again on each line would take hours."""
    (tmp_path / ".env").write_text(text)
    assert "A" in read_env_files(tmp_path, None)
