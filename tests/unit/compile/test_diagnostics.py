import pytest

from isolet.compile.diagnostics import read_diagnostic


def _complaint(line: int, column: int, message: str = 'Unexpected "}"') -> str:
    return f"✘ [ERROR] {message}\n\n    function.js:{line}:{column}:\n      {line} │ …\n        ╵ ^\n\n1 error\n"


def test_an_error_is_told_with_its_place() -> None:
    error = read_diagnostic(_complaint(2, 4), "let a;\nlet }\n")
    assert error.message == 'SyntaxError: Unexpected "}"'
    assert error.details == {"line": 2, "column": 5, "text": "let }"}


@pytest.mark.parametrize(
    ("text", "bytes_before", "column"),
    [("}", 0, 1), ("'é' }", 5, 5), ("'日本' }", 9, 6), ("'😀' }", 7, 5), ("\t}", 1, 2)],
)
def test_columns_count_characters(text: str, bytes_before: int, column: int) -> None:
    assert read_diagnostic(_complaint(1, bytes_before), text).column == column


@pytest.mark.parametrize("code", ["let a = {\n", "let a = {", "let a = {\r\n"])
def test_an_error_past_the_end_is_told_at_the_end(code: str) -> None:
    error = read_diagnostic(_complaint(3, 0, "Unexpected end of file"), code)
    assert error.details == {"line": 1, "column": 10, "text": "let a = {"}


def test_lines_are_counted_as_javascript_counts_them() -> None:
    code = "let a = '\x0b\x0c\x1c\x85';\r\nlet b;\rlet c;\u2028let }\n"
    assert read_diagnostic(_complaint(4, 4), code).details == {"line": 4, "column": 5, "text": "let }"}


def test_a_long_line_is_cut() -> None:
    error = read_diagnostic(_complaint(1, 300), "x" * 500)
    assert (error.column, error.text) == (301, "x" * 200)


def test_an_error_without_a_place_is_told_without_one() -> None:
    error = read_diagnostic('✘ [ERROR] "handler" is not declared in this file\n', "let a;")
    assert error.message == '"handler" is not declared in this file'
    assert error.details == {"line": None, "column": None, "text": None}


def test_a_complaint_that_cannot_be_read_says_so_much() -> None:
    assert read_diagnostic("segmentation fault", "let a;").message == "the code does not compile"


def test_empty_code_has_one_empty_line() -> None:
    assert read_diagnostic(_complaint(1, 0), "").details == {"line": 1, "column": 1, "text": ""}
