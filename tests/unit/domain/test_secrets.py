import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolet.domain.secrets import Redactor, SecretType, check_name, decode_value, encode_value
from isolet.errors import InvalidInput

MARK = "[redacted]"


@pytest.mark.parametrize("name", ["A", "API_KEY", "_", "9", "KV2", "A" * 128])
def test_a_name_is_upper_case_letters_digits_and_underscores(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "a", "API-KEY", "A B", "É", "A\n", None, 1, ["A"]])
def test_other_names_are_refused(name: object) -> None:
    with pytest.raises(InvalidInput, match="Secret name must be uppercase alphanumeric with underscores"):
        check_name(name)


@pytest.mark.parametrize("name", ["KV", "DB"])
def test_names_of_bindings_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} is the name of a binding"):
        check_name(name)


def test_a_name_has_at_most_128_characters() -> None:
    with pytest.raises(InvalidInput, match="too long"):
        check_name("A" * 129)


def test_text_is_kept_as_it_is() -> None:
    assert encode_value('{"a": 1}') == (SecretType.TEXT, '{"a": 1}')
    assert encode_value("") == (SecretType.TEXT, "")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    ).filter(lambda value: isinstance(value, dict | list))
)
def test_objects_and_arrays_come_back_as_they_were(value: object) -> None:
    kind, text = encode_value(value)
    assert kind is SecretType.JSON
    assert decode_value(kind, text) == value


@pytest.mark.parametrize("value", [None, 1, 1.5, True])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="must be a string, an object or an array"):
        encode_value(value)


@pytest.mark.parametrize("value", ["\ud800", "a\x00b", {"a": ["\ud800"]}, [{"\ud800": 1}]])
def test_text_that_cannot_be_stored_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="characters that cannot be stored"):
        encode_value(value)


def test_a_value_has_at_most_64_kib() -> None:
    assert encode_value("é" * 32_768)[0] is SecretType.TEXT
    for value in ("é" * 32_768 + "a", ["a" * 65_533]):
        with pytest.raises(InvalidInput, match="too large"):
            encode_value(value)


# Redaction.


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
