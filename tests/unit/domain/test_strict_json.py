import pytest

from isolet.domain.strict_json import read_json


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", '{"a": 1e999}', "-1e999", "", "{"])
def test_what_no_other_reader_takes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(text)


def test_what_the_standard_has_is_read() -> None:
    assert read_json('{"a": [1.5, 1e308, -0.0, "NaN", null]}') == {"a": [1.5, 1e308, -0.0, "NaN", None]}
    assert read_json(b'"\\ud800"') == "\ud800"
