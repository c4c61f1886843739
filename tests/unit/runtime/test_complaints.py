import pytest

from isolet.domain.source_lines import with_mappings
from isolet.runtime.complaints import load_failure

MODULE = "const a = 1;\nconst b = missing;\nexport default { fetch() {} };\n"


def test_a_throwing_module_is_told_with_its_place() -> None:
    complaint = (
        "service function: Uncaught ReferenceError: missing is not defined\n"
        "  at function.js:2:11\n  at isolet/entry.js:5:1\n"
    )
    failure = load_failure(complaint, MODULE)
    assert failure is not None
    assert failure.message == "ReferenceError: missing is not defined"
    assert failure.details == {"line": 2, "column": 11, "text": "const b = missing;"}


@pytest.mark.parametrize(
    ("module", "told", "column"),
    [
        ("const d = (c) => c; export default class A { x=1; @d m(){} }", 50, 51),
        ("export default class A { @d m(){} }", 25, 26),
        ("@d class A {}", 0, 1),
        ("throw new SyntaxError('hm');", 7, 7),
        ("const a = JSON.parse('{');", 16, 16),
    ],
)
def test_a_syntax_error_that_v8_alone_sees_is_told_at_its_column(module: str, told: int, column: int) -> None:
    """Decorators in JavaScript are compiled by nobody, and V8 has none yet."""
    complaint = f"service function: Uncaught SyntaxError: Invalid or unexpected token\n  at function.js:1:{told}\n"
    failure = load_failure(complaint, module)
    assert failure is not None
    assert failure.details == {"line": 1, "column": column, "text": module}


def test_a_complaint_without_a_place_is_told_without_one() -> None:
    failure = load_failure('service function: No such module "lodash".\n  imported from "function.js"\n', MODULE)
    assert failure is not None
    assert failure.message == 'No such module "lodash".'
    assert failure.details == {"line": None, "column": None, "text": None}


def test_a_place_of_what_the_compiler_added_is_passed_over() -> None:
    module = with_mappings("var helper;\nthrow 1;\n", ";AAEA", ["src/index.ts"])
    complaint = "service function: Uncaught Error: no\n  at helper (function.js:1:5)\n  at function.js:2:1\n"
    failure = load_failure(complaint, module)
    assert failure is not None
    assert (failure.line, failure.column, failure.file) == (3, 1, "src/index.ts")


@pytest.mark.parametrize("line", [0, 4, 99])
def test_a_place_outside_of_the_module_is_none(line: int) -> None:
    failure = load_failure(f"service function: Uncaught Error: no\n  at function.js:{line}:1\n", MODULE)
    assert failure is not None
    assert (failure.message, failure.line, failure.text) == ("Error: no", None, None)


def test_lines_are_counted_as_javascript_counts_them() -> None:
    module = "let a = '\x0c\x85';\r\nlet b;\rthrow 1;\u2028oops();\n"
    failure = load_failure("service function: Uncaught Error: no\n  at function.js:4:1\n", module)
    assert failure is not None
    assert (failure.line, failure.text) == (4, "oops();")


def test_long_texts_are_cut() -> None:
    complaint = f"service function: Uncaught Error: {'m' * 5_000}\n  at function.js:1:1\n"
    failure = load_failure(complaint, "x" * 5_000)
    assert failure is not None
    assert (len(failure.message), failure.text) == (2_000, "x" * 200)


@pytest.mark.parametrize(
    "complaint",
    ["", "*** Fatal uncaught kj::Exception: no memory\n", "other service function: Uncaught Error: no\n"],
)
def test_other_complaints_are_not_about_the_module(complaint: str) -> None:
    assert load_failure(complaint, MODULE) is None


@pytest.mark.parametrize("said", ["#<Object>", "#<Promise>", "[object Object]"])
def test_an_object_that_is_no_error_is_told_as_such(said: str) -> None:
    failure = load_failure(f"service function: Uncaught Error: {said}\n", MODULE)
    assert failure is not None
    assert "threw an object that is no error" in failure.message
