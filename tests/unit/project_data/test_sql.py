import json
import sqlite3
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolet.errors import TooLarge, Unavailable
from isolet.project_data import sql
from isolet.project_data.passing import rows_in
from isolet.project_data.sql import split_statements

TRIGGER = "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO l VALUES (';'); SELECT CASE 1 WHEN 1 THEN 2 END; END;"


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        (" ;\n; ", []),
        ("-- only; a comment\n/* and; another */", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT 2;", ["SELECT 1;", "SELECT 2;"]),
        ("SELECT 1;\n-- the end", ["SELECT 1;"]),
        ("SELECT ';', \";\", `;`, [;] ; SELECT 2", ["SELECT ';', \";\", `;`, [;] ;", "SELECT 2"]),
        ("SELECT 'it''s; fine'; SELECT 2", ["SELECT 'it''s; fine';", "SELECT 2"]),
        ("SELECT 1 -- one; \n + 1; SELECT /* ; */ 2", ["SELECT 1 -- one; \n + 1;", "SELECT /* ; */ 2"]),
        (f"{TRIGGER} SELECT 1;", [TRIGGER, "SELECT 1;"]),
        (
            TRIGGER.replace("CREATE", "create temp").lower() + "x",
            [TRIGGER.replace("CREATE", "create temp").lower(), "x"],
        ),
        (f"/* why */ {TRIGGER}", [f"/* why */ {TRIGGER}"]),
        ("CREATE TABLE trigger_end (n); SELECT 1", ["CREATE TABLE trigger_end (n);", "SELECT 1"]),
        ("SELECT 'unfinished; text", ["SELECT 'unfinished; text"]),
    ],
)
def test_statements_end_where_sqlite_ends_them(text: str, statements: list[str]) -> None:
    assert list(split_statements(text)) == statements


_PIECES = [
    "SELECT 1", "'a;b'", "''", '"c;d"', "[e;]", "`;`", "-- f;\n", "/* g; */", " ", "\n", ";", "; ", "x", ",", "end",
    "CREATE TRIGGER t BEGIN SELECT 1; END;", "create temporary trigger", "CREATE TABLE t (n)", "END", "é",
]  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES), max_size=14).map(" ".join))
def test_the_split_agrees_with_sqlites_own_judgement(text: str) -> None:
    statements = list(split_statements(text))
    for statement in statements[:-1]:
        assert sqlite3.complete_statement(statement)
    for statement in statements:
        semicolons = [at for at, char in enumerate(statement) if char == ";"]
        assert not [at for at in semicolons if at + 1 < len(statement) and _ends(statement[: at + 1])]
    left = text
    for statement in statements:
        before, found, left = left.partition(statement)
        assert found
        assert not list(split_statements(before))


def _ends(text: str) -> bool:
    """Whether sqlite takes the text for complete, and it holds more than comments."""
    return sqlite3.complete_statement(text) and bool(list(split_statements(text)))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT '" + ";" * 2_000_000,
        "CREATE TRIGGER g BEGIN " + "SELECT 1; " * 200_000,
        "/*" + ";*" * 1_000_000,
        "SELECT " + "x " * 1_000_000,
        "''" * 1_000_000,
    ],
    ids=["text", "trigger", "comment", "words", "quotes"],
)
def test_the_split_takes_time_linear_to_the_text(text: str) -> None:
    began = time.process_time()
    assert len(list(split_statements(text))) == (0 if text.startswith("/*") else 1)
    # A second or two; were it the square of the length, hours.
    assert time.process_time() - began < 60


_LONG = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "'" + "a" * _LONG,
        "-- " + "a" * _LONG,
        "/*" + "a" * _LONG,
        " " * _LONG,
        "x" * _LONG,
        "[" + "a;" * _LONG,
        ";" * 9_000,
    ],
    ids=["text", "comment", "block", "spaces", "word", "name", "semicolons"],
)
def test_no_step_of_the_split_is_long(text: str) -> None:
    """One match of a pattern holds up the event loop from a thread as well."""
    matches = [token for _, token, _ in sql._tokens(text)]
    assert max(match.end() - match.start() for match in matches) < 10_000


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        (f"SELECT '{';' * _LONG}'; SELECT 2", [f"SELECT '{';' * _LONG}';", "SELECT 2"]),
        (f"SELECT 1 /*{';' * _LONG}*/ ; SELECT 2", [f"SELECT 1 /*{';' * _LONG}*/ ;", "SELECT 2"]),
        (f"SELECT 1 --{';' * _LONG}\n ; SELECT 2", [f"SELECT 1 --{';' * _LONG}\n ;", "SELECT 2"]),
        (f"SELECT 1; {' ' * _LONG} SELECT 2{' ' * _LONG};", ["SELECT 1;", f"SELECT 2{' ' * _LONG};"]),
        (f"SELECT {'é' * _LONG};SELECT `{';' * _LONG}", [f"SELECT {'é' * _LONG};", f"SELECT `{';' * _LONG}"]),
    ],
    ids=["text", "block", "comment", "spaces", "no end"],
)
def test_long_pieces_end_where_short_ones_do(text: str, statements: list[str]) -> None:
    assert list(split_statements(text)) == statements


def test_a_batch_is_not_larger_than_its_text_by_more_than_a_part_of_it() -> None:
    assert json.loads(sql._batch(["SELECT 'é'", 'SELECT "\n"'])) == [
        {"sql": "SELECT 'é'", "params": []},
        {"sql": 'SELECT "\n"', "params": []},
    ]
    assert len(sql._batch(["é" * 50_000] * 100)) < 10_100_000
    with pytest.raises(TooLarge):
        sql._batch(["\x01" * 100_000] * 100)


def test_rows_of_an_answer_are_read_one_at_a_time() -> None:
    answer = '[{"success":true,"results":{"columns":["a"],"rows":[["1"],["2"]]},"meta":{"duration":1}},'
    answer += '{"success":true,"results":{"columns":[],"rows":[]},"meta":{}},'
    answer += '{"success":true,"results":{"columns":["b","c"],"rows":[["x","y"],["z'
    results = rows_in(answer)
    assert list(next(results)) == [["1"], ["2"]]
    assert list(next(results)) == []
    rows = next(results)
    assert next(rows) == ["x", "y"]
    with pytest.raises(Unavailable):
        next(rows)
