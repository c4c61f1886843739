import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolet.domain.secrets import SecretType, check_name, decode_value, encode_value
from isolet.errors import InvalidInput


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


@pytest.mark.parametrize("depth", [70, 950, 20_000])
def test_a_value_that_is_nested_deeply_is_refused(depth: int) -> None:
    nested: object = "a"
    for _ in range(depth):
        nested = [nested]
    with pytest.raises(InvalidInput, match="Secret value is nested too deeply"):
        encode_value(nested)


def test_a_value_has_at_most_64_kib() -> None:
    assert encode_value("é" * 32_768)[0] is SecretType.TEXT
    for value in ("é" * 32_768 + "a", ["a" * 65_533]):
        with pytest.raises(InvalidInput, match="too large"):
            encode_value(value)
