from enum import StrEnum

import pytest

from isolet.domain.choices import one_of
from isolet.errors import InvalidInput


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


@pytest.mark.parametrize("value", ["large", Size.LARGE])
def test_a_choice_is_known_by_its_text(value: object) -> None:
    assert one_of("size", value, Size) is Size.LARGE


@pytest.mark.parametrize("value", ["", "LARGE", "large\0", None, 1, ["large"], {"large": 1}])
def test_the_choices_are_named_where_it_is_none(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^size must be one of small, large$"):
        one_of("size", value, Size)
