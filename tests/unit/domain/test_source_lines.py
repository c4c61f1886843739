import pytest

from isolet.domain.source_lines import authored_place, authored_stack, authored_text, with_mappings

# What esbuild makes of four lines of types and, on the fifth, `const f = (a: A) => { throw new Error(String(a)); };`.
COMPILED = "// function.ts\nvar f = (a) => {\n  throw new Error(String(a));\n};\n"
MODULE = with_mappings(COMPILED, ";AAIA,IAAM,IAAI,CAAC,MAAS;AAAE,QAAM,IAAI,MAAM,OAAO,CAAC,CAAC;AAAG;")


@pytest.mark.parametrize(
    ("line", "column", "place"),
    [
        (1, 1, None),
        (2, 1, (5, 1)),
        (2, 10, (5, 12)),
        (3, 9, (5, 29)),
        (3, 13, (5, 33)),
        (9, 1, None),
        (0, 1, None),
    ],
)
def test_a_place_is_found_in_the_authors_text(line: int, column: int, place: tuple[int, int] | None) -> None:
    assert authored_place(MODULE, line, column) == place


def test_a_place_in_code_that_runs_as_it_was_written_stays() -> None:
    assert authored_place(COMPILED, 3, 9) == (3, 9)


def test_every_place_of_a_stack_is_the_authors() -> None:
    stack = "Error: 1\n    at f (function.js:3:9)\n    at new Promise (<anonymous>)\n    at function.js:2:10"

    assert authored_stack(MODULE, stack) == (
        "Error: 1\n    at f (function.js:5:29)\n    at new Promise (<anonymous>)\n    at function.js:5:12"
    )


def test_places_of_what_the_compiler_added_are_left_out() -> None:
    stack = "Error: function.js:1:2\n    at __require (function.js:1:50)\n    at f (function.js:3:9)"

    assert authored_stack(MODULE, stack) == "Error: function.js:1:2\n    at f (function.js:5:29)"
    assert authored_stack(COMPILED, stack) == stack


def test_stack_traces_in_what_a_function_prints_are_the_authors() -> None:
    ours = "    at async run (isolet/execution.js:9:3)\n    at isolet/entry.js:1:2\n"
    printed = f"failed: {{ Error: 1\n    at f (function.js:3:9)\n{ours}}} in isolet/ at function.js:2:10"

    told = "failed: { Error: 1\n    at f (function.js:%s)\n} in isolet/ at function.js:%s"
    assert authored_text(MODULE, printed) == told % ("5:29", "5:12")
    assert authored_text(COMPILED, printed) == told % ("3:9", "2:10")
    assert authored_text(MODULE, "nothing of it") == "nothing of it"


@pytest.mark.parametrize("mappings", ["", "A", "g", "AAAA,", "é", "A" * 3 + "gggggggggggggggggggggggggB", "; ;"])
def test_a_comment_of_the_author_that_looks_like_ours_changes_nothing(mappings: str) -> None:
    assert authored_place(with_mappings(COMPILED, mappings), 2, 1) == (2, 1)
