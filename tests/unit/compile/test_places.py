"""Where code names what it imports, in steps that take no longer for code that is made to take long."""

from __future__ import annotations

import time

import pytest

from isolet.api.altair.errors import failure
from isolet.compile.bundle import _check_import
from isolet.compile.diagnostics import read_diagnostic
from isolet.errors import BuildFailed, HandlerFailed


@pytest.mark.parametrize(
    ("code", "line", "column", "text"),
    [
        ('let a = "./x";\r\nimport b from "./x";\n', 2, 15, 'import b from "./x";'),
        ("let a = `./x`;\nawait import (\n './x');", 3, 2, " './x');"),
        ("\u2028\r'./x'", 3, 1, "'./x'"),
        ('import("./" + "x")', None, None, None),
    ],
)
def test_what_is_imported_has_a_place(code: str, line: int | None, column: int | None, text: str | None) -> None:
    with pytest.raises(BuildFailed) as caught:
        _check_import("./x", code)
    assert (caught.value.line, caught.value.column, caught.value.text) == (line, column, text)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("./x", "// import" + " " * 900_000 + "\nimport './x'"),
        ("./" + "`" * 300_000, "`./" * 2 + "`" * 299_000 + '"./' + "`" * 300_000 + '"'),
        ("./x", "\n" * 900_000 + "import './x'"),
        ("./x", "import './x'\n" * 70_000),
    ],
    ids=["spaces", "a long name", "lines", "imports"],
)
def test_a_place_is_found_in_time_linear_to_the_code(path: str, code: str) -> None:
    """Squares of these took minutes."""
    began_s = time.thread_time()
    with pytest.raises(BuildFailed):
        _check_import(path, code)
    assert time.thread_time() - began_s < 10


def test_a_place_is_looked_for_in_each_line_once() -> None:
    """Ten thousand lines took a hundred milliseconds, and a million would take days."""
    lines = "\n" * 300_000
    began_s = time.thread_time()
    assert read_diagnostic(f"[ERROR] no{lines}", "").line is None
    failure(HandlerFailed("no", said="no", stack=lines))
    assert time.thread_time() - began_s < 10
