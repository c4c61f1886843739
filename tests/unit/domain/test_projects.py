import pytest

from isolet.domain.projects import Plan, check_origins, check_plan, check_slug
from isolet.errors import InvalidInput


@pytest.mark.parametrize("slug", ["a", "0", "my-app", "a" * 63, "a--b"])
def test_a_slug_is_a_host_label(slug: str) -> None:
    assert check_slug(slug) == slug


@pytest.mark.parametrize("slug", ["", "-a", "a-", "a" * 64, "A", "a.b", "a\n", "ä", None, 5])
def test_other_slugs_are_refused(slug: object) -> None:
    with pytest.raises(InvalidInput, match=r"^slug must be 1 to 63 lower case letters"):
        check_slug(slug)


@pytest.mark.parametrize("plan", Plan)
def test_plans_are_known_by_name(plan: Plan) -> None:
    assert check_plan(plan.value) is plan


@pytest.mark.parametrize("plan", ["gold", "", None, 1])
def test_other_plans_are_refused(plan: object) -> None:
    with pytest.raises(InvalidInput, match=r"^plan must be one of unlimited, free, pro, enterprise, platform$"):
        check_plan(plan)


@pytest.mark.parametrize(
    "origins",
    [[], ["*"], ["https://app.example.com", "http://localhost:3000", "http://[::1]:8080"]],
)
def test_origins_are_taken_in_their_order(origins: list[str]) -> None:
    assert check_origins(origins) == tuple(origins)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "app.example.com",
        "https://",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://app.example.com?q",
        "https://user:word@app.example.com",
        "HTTPS://app.example.com",
        "ftp://app.example.com",
        "https://app.example.com\n",
        "https://app example.com",
        "https://[::1",
        "https://app.example.com:port",
        "null",
    ],
)
def test_what_is_no_origin_is_named(origin: str) -> None:
    with pytest.raises(InvalidInput) as told:
        check_origins(["*", origin])
    assert told.value.message == f"allowed_origins: {origin!r} is not an origin such as https://app.example.com"


@pytest.mark.parametrize("value", [None, "*", ["*", 5], {"*": 1}])
def test_origins_are_a_list_of_strings(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^allowed_origins must be a list of strings$"):
        check_origins(value)
