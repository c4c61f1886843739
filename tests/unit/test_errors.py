import re

import pytest

from isolet import errors
from isolet.errors import (
    BuildFailed,
    FunctionTimeout,
    HandlerFailed,
    InvalidInput,
    IsoletError,
    MethodNotAllowed,
    TooManyRequests,
)


def _tree(kind: type[IsoletError]) -> list[type[IsoletError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _tree(child))]


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    drawn: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([ │├└─]*)([A-Z]\w+)", line)
        if found:
            drawn.append((len(found[1]) // 4, found[2]))

    def walk(kind: type[IsoletError], depth: int) -> list[tuple[int, str]]:
        children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
        below = [entry for child in children for entry in walk(child, depth + 1)]
        return [(depth, kind.__name__), *below]

    assert sorted(drawn) == sorted(walk(IsoletError, 0))


def test_only_groups_share_a_code() -> None:
    # The client has errors of its own, with the codes that servers sent.
    own = [kind for kind in _tree(IsoletError) if kind.__module__ == IsoletError.__module__]
    leaves = [kind.code for kind in own if not any(other in own for other in kind.__subclasses__())]
    assert len(leaves) == len(set(leaves))


@pytest.mark.parametrize("kind", _tree(IsoletError), ids=lambda kind: kind.__name__)
def test_codes_are_snake_case(kind: type[IsoletError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)


def test_the_message_is_the_text_of_the_error() -> None:
    error = InvalidInput("name can't be blank", details={"field": "name"})
    assert (str(error), error.message, error.details) == (
        "name can't be blank",
        "name can't be blank",
        {"field": "name"},
    )


def test_details_are_empty_unless_given() -> None:
    assert InvalidInput("no").details == {}


def test_errors_carry_what_their_reader_needs() -> None:
    built = BuildFailed("SyntaxError: no", line=2, column=5, text="let let")
    assert built.details == {"line": 2, "column": 5, "text": "let let"}
    assert FunctionTimeout(timeout_ms=250).message == "Function execution timeout (250ms)"
    assert MethodNotAllowed("no", allowed=("GET", "PUT")).details == {"allowed": ["GET", "PUT"]}
    assert TooManyRequests("no", retry_after_s=3).retry_after_s == 3
    assert HandlerFailed("no", stack="at handler").stack == "at handler"


def test_of_a_message_as_long_as_the_code_the_beginning_is_told() -> None:
    assert BuildFailed("SyntaxError: " + "x" * 1_000_000).message == "SyntaxError: " + "x" * 3_987
