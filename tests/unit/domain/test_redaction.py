import json
import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolet.domain.redaction import MARK, Redactor


def test_a_value_is_blanked_wherever_it_stands() -> None:
    redactor = Redactor(["s3cret-value"])
    assert redactor.text("a s3cret-value, s3cret-values3cret-value") == f"a {MARK}, {MARK}{MARK}"
    assert redactor.data(b"\xff s3cret-value \xfe") == b"\xff [redacted] \xfe"
    assert redactor.text("nothing here") == "nothing here"


def test_every_string_inside_a_json_value_is_blanked() -> None:
    redactor = Redactor([{"user": "u-name", "list": ["first-one", {"deep": "deep-one"}], "n": 12345}])
    assert redactor.text("u-name first-one deep-one 12345 user") == f"{MARK} {MARK} {MARK} 12345 user"


@pytest.mark.parametrize("value", ['quo"te', "back\\slash", "two\nlines", "ünïcode", "☃😀☃☃", "a/b/c\u2028"])
def test_a_value_is_blanked_as_json_writes_it(value: str) -> None:
    redactor = Redactor([value])
    for text in (value, json.dumps({"v": value}), json.dumps({"v": value}, ensure_ascii=False)):
        assert MARK in redactor.text(text)
        assert redactor.data(text.encode()) == redactor.text(text).encode()
        for form in (value, json.dumps(value)[1:-1]):
            assert form not in redactor.text(text)


@pytest.mark.parametrize("lost", range(1, len("first line\nsecond ☃ line")))
def test_what_lost_its_beginning_shows_no_rest_of_a_value(lost: int) -> None:
    value = "first line\nsecond ☃ line"
    redactor = Redactor([value, "other-one"])
    tail = f"{value[lost:]} and then {value}, other-one"

    told = redactor.text(tail, headless=True)

    assert told.endswith(MARK)
    assert not any(part in told for part in ("ine", "☃", "other"))
    assert redactor.data(b"", headless=True) == b""
    assert Redactor([]).text(tail, headless=True) == tail


def test_values_that_are_parts_of_each_other_leave_nothing() -> None:
    assert Redactor(["pass", "password", "word"]).text("my password, my pass") == f"my {MARK}, my {MARK}"


def test_values_that_overlap_leave_nothing() -> None:
    assert Redactor(["abcdef", "defghi"]).text("<abcdefghi>") == f"<{MARK}>"
    assert Redactor(["aaaa"]).text("<aaaaaa>") == f"<{MARK}>"


def test_a_value_like_the_mark_does_not_grow() -> None:
    assert Redactor(["redacted", "other"]).text("other redacted") == f"{MARK} {MARK}"


def test_values_under_four_characters_stay() -> None:
    redactor = Redactor(["abc", ""])
    assert (redactor.text("abc"), redactor.longest) == ("abc", 0)


def test_what_was_cut_in_the_midst_of_a_value_loses_that_part() -> None:
    redactor = Redactor(["s3cret-value", "s3cond"])
    assert redactor.text("it is s3cret-va", cut=True) == f"it is {MARK}"
    assert redactor.data(b"it is s3cret-va", cut=True) == b"it is [redacted]"
    assert redactor.text("it is s3cret-va") == "it is s3cret-va"
    assert redactor.text("it is s3cret-va and more", cut=True) == "it is s3cret-va and more"
    assert redactor.text("no secret", cut=True) == "no secret"


@given(
    st.lists(st.text(alphabet='ab"\\é', min_size=4, max_size=12), min_size=1, max_size=4),
    st.lists(st.text(alphabet='ab"\\é \n', max_size=6), min_size=1, max_size=8),
    st.data(),
)
def test_no_value_is_ever_left(values: list[str], fillers: list[str], data: st.DataObject) -> None:
    parts = [data.draw(st.sampled_from([*values, *fillers])) for _ in range(8)]
    text = "".join(parts)
    redactor = Redactor(values)
    for told in (redactor.text(text), redactor.data(text.encode()).decode()):
        assert not [value for value in values if value in told]
    at = data.draw(st.integers(0, len(text)))
    cut = redactor.text(text[:at], cut=True)
    for value in values:
        assert not [size for size in range(4, len(value)) if cut.endswith(value[:size])]


@pytest.mark.parametrize(
    "sent", ["a%20b%2Fc%2B%28%C3%BC%29", "a%20b%2Fc%2B(%C3%BC)", "a+b%2Fc%2B%28%C3%BC%29", "a%20b/c%2B%28%C3%BC%29"]
)
def test_values_are_found_as_queries_and_forms_write_them(sent: str) -> None:
    assert Redactor(["a b/c+(\u00fc)"]).data(f"t={sent}&x=1".encode()) == b"t=[redacted]&x=1"


def test_a_value_with_a_lone_surrogate_is_redacted_in_text() -> None:
    assert Redactor([{"in": "abcd\ud800"}]).text("it is abcd\ud800.") == f"it is {MARK}."


def test_values_with_lone_surrogates_are_blanked() -> None:
    """Variables of other APIs may hold them."""
    redactor = Redactor([{"a": "lone \ud800"}])

    assert redactor.text('{"a": "lone \\ud800"}') == f'{{"a": "{MARK}"}}'


# Bounds.


def took_s(redactor: Redactor, data: bytes) -> float:
    """CPU time of this thread alone, so that other work on the machine has no part in it."""
    began = time.thread_time()
    redactor.data(data)
    return time.thread_time() - began


RANDOM = random.Random(1)


def random_text(size: int) -> str:
    return "".join(RANDOM.choices(string.ascii_letters + string.digits + "+/ ", k=size))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([random_text(200) for _ in range(1_000)], random_text(65_536)),
        ([f"sk-proj-{random_text(40)}" for _ in range(1_000)], "a sk-proj-x " * 5_400),
        (["a" * size for size in range(4, 1_004)], "a" * 65_536),
        (["a" * size for size in range(4, 1_004)], "aaaaab" * 11_000),
        ([random_text(8) for _ in range(30_000)], random_text(65_536)),
        (["a" * 65_000 + "b"], "a" * 65_536),
        (["\x01" * size for size in range(4, 500)], "\x01" * 65_536),
    ],
    ids=["random", "one beginning", "nested", "nested, broken off", "many", "almost", "escaped"],
)
def test_one_pass_is_enough_however_many_values_there_are(values: list[str], text: str) -> None:
    """A search for each value takes seconds here; the bound leaves ten times what it takes."""
    redactor = Redactor(values)
    assert took_s(redactor, text.encode()) < 1.0


def test_values_beyond_every_bound_blank_all_of_it() -> None:
    redactor = Redactor([f"{number:09}" * 100 for number in range(6_000)])
    assert (redactor.text("some text"), redactor.data(b"some data"), redactor.data(b"")) == (MARK, b"[redacted]", b"")


def test_what_takes_too_much_work_is_blanked_to_its_end() -> None:
    values = ["a" * size for size in range(4, 1_004)]
    told = Redactor(values).text("kept " + "aaaaab" * 50_000)
    assert told.startswith(f"kept {MARK}")
    assert told.endswith(MARK)
    assert "aaaa" not in told


def test_half_of_a_character_at_a_cut_belongs_to_the_value() -> None:
    assert Redactor(["key-\U0001f600-more"]).text("it is key-\ud83d", cut=True) == f"it is {MARK}"


def test_a_value_nested_without_end_is_read() -> None:
    value: list[object] = ["inner-value"]
    for _ in range(5_000):
        value = [value]
    assert Redactor([value]).text("inner-value") == MARK
