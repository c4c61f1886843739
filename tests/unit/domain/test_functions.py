import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from isolet.domain.functions import (
    Function,
    FunctionType,
    ResponseMode,
    changed,
    check_slug,
    free_slug,
    is_storable,
    slug_from,
)
from isolet.domain.limits import Limits
from isolet.errors import InvalidInput
from isolet.ids import FunctionId, ProjectId

FUNCTION = Function(id=FunctionId("f"), project_id=ProjectId("p"), name="Old", slug="old", code="old()")
SUPABASE = replace(FUNCTION, function_type=FunctionType.SUPABASE_FUNCTION)
WRAPPED = replace(FUNCTION, response_mode=ResponseMode.WRAPPED)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("name", "New", "New"),
        ("name", "n" * 255, "n" * 255),
        ("slug", "new-2", "new-2"),
        ("slug", "s" * 100, "s" * 100),
        ("description", None, None),
        ("description", "", ""),
        ("description", "d" * 10_000, "d" * 10_000),
        ("code", "c" * 1_048_576, "c" * 1_048_576),
        ("function_type", "supabase_function", FunctionType.SUPABASE_FUNCTION),
        ("response_mode", "passthrough", ResponseMode.PASSTHROUGH),
        ("public_endpoint", True, True),
        ("runtime_config", None, None),
        ("runtime_config", {"any": ["thing"]}, {"any": ["thing"]}),
    ],
)
def test_a_good_value_is_taken(name: str, value: object, kept: object) -> None:
    after = changed(FUNCTION, {name: value})
    assert getattr(after, name) == kept
    assert replace(after, **{name: getattr(FUNCTION, name)}) == FUNCTION


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("name", None, "name must be a string"),
        ("name", 5, "name must be a string"),
        ("name", " \t", "name can't be blank"),
        ("name", "n" * 256, "name is too long (maximum is 255 characters)"),
        ("name", "a\x00b", "name holds characters that cannot be stored"),
        ("name", "a\ud800b", "name holds characters that cannot be stored"),
        ("slug", None, "slug may hold only lower case letters, digits and hyphens"),
        ("slug", "", "slug may hold only lower case letters, digits and hyphens"),
        ("slug", "New", "slug may hold only lower case letters, digits and hyphens"),
        ("slug", "new\n", "slug may hold only lower case letters, digits and hyphens"),
        ("slug", "nëw", "slug may hold only lower case letters, digits and hyphens"),
        ("slug", "s" * 101, "slug is too long (maximum is 100 characters)"),
        ("description", 5, "description must be a string"),
        ("description", "d" * 10_001, "description is too long (maximum is 10000 characters)"),
        ("description", "\x00", "description holds characters that cannot be stored"),
        ("code", None, "code must be a string"),
        ("code", "\n ", "code can't be blank"),
        ("code", "é" * 524_289, "code is too large (maximum is 1 MB)"),
        ("code", "let a = '\x00'", "code holds characters that cannot be stored"),
        ("code", "let a = '\udfff'", "code holds characters that cannot be stored"),
        ("function_type", "lambda", "function_type must be one of cloudflare_worker, supabase_function"),
        ("function_type", None, "function_type must be one of cloudflare_worker, supabase_function"),
        ("function_type", ["x"], "function_type must be one of cloudflare_worker, supabase_function"),
        ("response_mode", "raw", "response_mode must be one of passthrough, wrapped"),
        ("response_mode", "wrapped", "response_mode can't be changed to wrapped"),
        ("public_endpoint", None, "public_endpoint must be true or false"),
        ("public_endpoint", 1, "public_endpoint must be true or false"),
        ("public_endpoint", "true", "public_endpoint must be true or false"),
        ("runtime_config", [], "runtime_config must be an object or null"),
        ("runtime_config", {"memory": 1}, "runtime_config.memory must be a whole number from 64 to 1024"),
        ("limits", {"concurrency": 0}, "concurrency must be a whole number from 1 to 1000"),
    ],
)
def test_a_bad_value_is_told(name: str, value: object, complaint: str) -> None:
    with pytest.raises(InvalidInput) as told:
        changed(FUNCTION, {name: value})
    assert told.value.message == complaint


def test_one_bad_value_refuses_all_changes() -> None:
    before = replace(FUNCTION)
    with pytest.raises(InvalidInput):
        changed(FUNCTION, {"name": "New", "slug": "Bad Slug"})
    assert before == FUNCTION


@pytest.mark.parametrize(
    ("function", "changes"),
    [
        (SUPABASE, {"public_endpoint": True}),
        (FUNCTION, {"public_endpoint": True, "function_type": "supabase_function"}),
        (replace(FUNCTION, public_endpoint=True), {"function_type": "supabase_function"}),
    ],
)
def test_only_workers_have_a_public_endpoint(function: Function, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"^public_endpoint is only supported for cloudflare_worker functions$"):
        changed(function, changes)


def test_what_can_be_stored_is_told_without_a_look_at_each_character() -> None:
    """Code may have a million of them, and that is asked on the event loop."""

    class Code(str):
        __slots__ = ()

        def __iter__(self) -> Iterator[str]:
            raise AssertionError("a loop over the text")

    assert is_storable(Code("é😀"))
    assert not is_storable(Code("a\ud800"))
    assert not is_storable(Code("a\x00"))


def test_what_was_born_wrapped_may_stay_so_or_leave_for_good() -> None:
    assert changed(WRAPPED, {"response_mode": "wrapped", "name": "New"}).response_mode is ResponseMode.WRAPPED
    assert changed(WRAPPED, {"name": "New"}).response_mode is ResponseMode.WRAPPED
    passing = changed(WRAPPED, {"response_mode": "passthrough"})
    assert passing.response_mode is ResponseMode.PASSTHROUGH
    with pytest.raises(InvalidInput, match="can't be changed to wrapped"):
        changed(passing, {"response_mode": "wrapped"})


def test_limits_come_from_the_runtime_config_and_are_overruled_by_limits() -> None:
    after = changed(
        FUNCTION,
        {"runtime_config": {"timeout": 5, "memory": 256, "note": "kept"}, "limits": {"timeout_ms": 7_000}},
    )
    assert after.limits == Limits(timeout_ms=7_000, memory_limit_mb=256)
    assert after.runtime_config == {"timeout": 5, "memory": 256, "note": "kept"}


def test_limits_that_nothing_names_stay() -> None:
    before = replace(FUNCTION, limits=Limits(cpu_ms=77, concurrency=3))
    assert changed(before, {"runtime_config": {"timeout": 1}}).limits == replace(before.limits, timeout_ms=1_000)
    assert changed(before, {"name": "New"}).limits == before.limits


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Hello World", "hello-world"),
        ("  Crème brûlée  №5 ", "creme-brulee-no5"),
        ("a__b--c", "a-b-c"),
        ("日本", "function"),
        ("!!!", "function"),
        ("x" * 200, "x" * 92),
    ],
)
def test_a_slug_is_made_from_a_name(name: str, slug: str) -> None:
    assert slug_from(name) == slug


@given(st.text(max_size=300))
def test_a_slug_from_any_name_is_a_good_one(name: str) -> None:
    slug = slug_from(name)
    assert check_slug(slug) == slug
    assert not slug.startswith("-")
    assert not slug.endswith("-")
    assert slug_from(slug) == slug


@given(st.text(max_size=300), st.sets(st.integers(2, 40)), st.booleans())
def test_a_free_slug_is_the_first_that_is_not_taken(name: str, numbers: set[int], itself: bool) -> None:
    wanted = slug_from(name)
    taken = {f"{wanted}-{number}" for number in numbers} | ({wanted} if itself else set())

    found = free_slug(wanted, taken)

    assert found not in taken
    assert check_slug(found) == found
    if found != wanted:
        number = int(re.fullmatch(rf"{wanted}-(\d+)", found)[1])  # type: ignore[index]
        assert itself
        assert {f"{wanted}-{earlier}" for earlier in range(2, number)} <= taken


@given(st.text())
def test_text_is_storable_when_it_is_utf_8_without_nul(text: str) -> None:
    try:
        fits = b"\x00" not in text.encode()
    except UnicodeEncodeError:
        fits = False
    assert is_storable(text) is fits
