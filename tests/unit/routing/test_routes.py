import pytest
from msgspec.structs import replace

from isolet.domain.access import Key, Principal, Role, digest
from isolet.domain.changes import (
    Change,
    FunctionChanged,
    FunctionDeleted,
    FunctionDeployed,
    KeyCreated,
    KeyDeleted,
    ProjectChanged,
    ProjectDeleted,
)
from isolet.domain.functions import Function, FunctionType, ResponseMode
from isolet.domain.limits import Limits
from isolet.domain.project_limits import ProjectLimits
from isolet.domain.projects import Project
from isolet.domain.triggers import HttpAuth
from isolet.functions.releases import release_of
from isolet.ids import FunctionId, KeyId, ProjectId
from isolet.routing.routes import Route, Routes, route_of

DEFAULT = Project(id=ProjectId("p0"), slug="default", name="Default")
SHOP = Project(id=ProjectId("p1"), slug="shop", name="Shop")
HELLO = Function(id=FunctionId("f0"), project_id=DEFAULT.id, name="Hello", slug="hello", code="x")
ORDER = replace(HELLO, id=FunctionId("f1"), project_id=SHOP.id, name="Order", slug="order", version=3)
SHOP_KEY = Key(
    id=KeyId("k1"), project_id=SHOP.id, name="ci", role=Role.DEPLOY, digest=digest("isk_shop"), created_at_ms=0
)


@pytest.fixture
def routes() -> Routes:
    table = Routes("root-key")
    table.load(functions=[HELLO, ORDER], projects=[DEFAULT, SHOP], keys=[SHOP_KEY])
    return table


def test_a_route_is_what_a_door_must_know_of_a_function() -> None:
    limits = Limits(timeout_ms=5)
    function = replace(ORDER, limits=limits, response_mode=ResponseMode.WRAPPED, public_endpoint=True)
    assert route_of(function) == Route(
        function_id=FunctionId("f1"),
        project_id=SHOP.id,
        name="Order",
        slug="order",
        version=3,
        release=release_of(function),
        public=True,
        response_mode=ResponseMode.WRAPPED,
        limits=limits,
        http_auth=HttpAuth.NONE,
    )


class Now:
    def __init__(self) -> None:
        self.ms = 1000

    def now_ms(self) -> int:
        return self.ms


def test_a_key_is_refused_from_the_moment_on_at_which_it_expires() -> None:
    now = Now()
    routes = Routes("root-key", clock=now)
    routes.load(functions=[], projects=[SHOP], keys=[replace(SHOP_KEY, expires_at_ms=2000)])
    assert routes.principal("isk_shop") is not None
    now.ms = 1999
    assert routes.principal("isk_shop") is not None
    now.ms = 2000
    assert routes.principal("isk_shop") is None


def test_a_project_reaches_what_is_left_of_its_networks_within_the_operators() -> None:
    routes = Routes("root-key", egress_networks=["10.0.0.0/8", "192.168.1.0/24"])
    routes.load(functions=[], projects=[DEFAULT, SHOP], keys=[])
    assert routes.egress_of(SHOP.id) == ("10.0.0.0/8", "192.168.1.0/24")
    routes.put_project(replace(SHOP, egress_allow=("10.1.0.0/16", "172.16.0.0/12")))
    assert routes.egress_of(SHOP.id) == ("10.1.0.0/16",)
    routes.put_project(replace(SHOP, egress_allow=()))
    assert routes.egress_of(SHOP.id) == ()
    assert routes.egress_of(DEFAULT.id) == ("10.0.0.0/8", "192.168.1.0/24")
    assert routes.egress_of(ProjectId("gone")) == ()


def test_the_limits_of_a_project_are_its_own_or_those_of_the_server() -> None:
    routes = Routes("root-key", ProjectLimits(functions=5, connections=6))
    own = replace(SHOP, limits={"functions": 7, "of a later release": 8})
    routes.load(functions=[], projects=[DEFAULT, own], keys=[])

    assert routes.limits_of(SHOP.id) == ProjectLimits(functions=7, connections=6)
    assert routes.limits_of(DEFAULT.id) == ProjectLimits(functions=5, connections=6)
    routes.put_project(SHOP)
    assert routes.limits_of(SHOP.id) == ProjectLimits(functions=5, connections=6)


def test_only_workers_are_public() -> None:
    function = replace(ORDER, public_endpoint=True, function_type=FunctionType.SUPABASE_FUNCTION)
    assert route_of(function).public is False


def test_what_was_loaded_is_found(routes: Routes) -> None:
    assert routes.function("f1") == route_of(ORDER)
    assert routes.project("shop") is SHOP
    assert routes.default_project is DEFAULT
    assert routes.slug_of(SHOP.id) == "shop"


def test_what_is_unknown_is_none(routes: Routes) -> None:
    assert routes.function("f9") is None
    assert routes.project("shopping") is None


def test_loading_replaces_everything(routes: Routes) -> None:
    routes.load(functions=[], projects=[DEFAULT], keys=[])
    assert routes.function("f1") is None
    assert routes.project("shop") is None
    assert routes.principal("isk_shop") is None


def test_the_root_key_acts_on_every_project(routes: Routes) -> None:
    assert routes.principal("root-key") == Principal(role=Role.ADMIN)


def test_a_projects_key_acts_in_its_project(routes: Routes) -> None:
    assert routes.principal("isk_shop") == Principal(role=Role.DEPLOY, key_id=SHOP_KEY.id, project_id=SHOP.id)


@pytest.mark.parametrize("key", [None, "", "root-key ", "root", "isk_shop2", "ISK_SHOP", "\udcff"])
def test_a_key_that_nobody_issued_is_nobody(routes: Routes, key: str | None) -> None:
    assert routes.principal(key) is None


def test_without_a_root_key_nobody_is_root() -> None:
    assert Routes("").principal("") is None


def test_a_changed_function_is_seen_at_once(routes: Routes) -> None:
    routes.put_function(replace(ORDER, version=4))
    assert routes.function("f1") == route_of(replace(ORDER, version=4))
    assert routes.function("f0") == route_of(HELLO)


def test_a_route_in_a_callers_hands_does_not_change(routes: Routes) -> None:
    held = routes.function("f1")
    routes.put_function(replace(ORDER, version=4))
    routes.drop_function(ORDER.id)
    assert held == route_of(ORDER)


def test_a_dropped_function_is_gone_and_no_other(routes: Routes) -> None:
    routes.drop_function(ORDER.id)
    routes.drop_function(FunctionId("f9"))
    assert routes.function("f1") is None
    assert routes.function("f0") == route_of(HELLO)


def test_a_dropped_project_takes_its_functions_and_keys_along(routes: Routes) -> None:
    routes.drop_project(SHOP)
    assert routes.project("shop") is None
    assert routes.function("f1") is None
    assert routes.principal("isk_shop") is None
    assert routes.function("f0") == route_of(HELLO)
    assert routes.project("default") is DEFAULT


def test_a_new_project_and_its_key_are_seen_at_once(routes: Routes) -> None:
    blog = Project(id=ProjectId("p2"), slug="blog", name="Blog")
    routes.put_project(blog)
    routes.put_key(replace(SHOP_KEY, id=KeyId("k2"), project_id=blog.id, digest=digest("isk_blog")))
    found = routes.principal("isk_blog")
    assert routes.project("blog") is blog
    assert found is not None
    assert found.project_id == blog.id
    assert routes.principal("isk_shop") is not None


def test_a_dropped_key_is_refused_at_once(routes: Routes) -> None:
    routes.drop_key("k1")
    assert routes.principal("isk_shop") is None
    assert routes.principal("root-key") is not None


def test_who_listens_hears_of_every_function_that_is_gone() -> None:
    gone: list[tuple[str, bool]] = []
    routes = Routes(
        "root-key", on_drop=lambda function_id: gone.append((function_id, routes.has_function(function_id)))
    )
    routes.load(functions=[HELLO, ORDER], projects=[DEFAULT, SHOP], keys=[])
    routes.drop_function(HELLO.id)
    routes.drop_project(SHOP)
    assert gone == [("f0", False), ("f1", False)]


def test_every_change_is_followed(routes: Routes) -> None:
    key = replace(SHOP_KEY, id=KeyId("k2"), digest=digest("isk_new"))
    changes: list[Change] = [
        ProjectChanged(project=replace(SHOP, name="Renamed")),
        KeyCreated(key=key),
        FunctionDeployed(function=replace(ORDER, version=9)),
    ]
    for change in changes:
        routes.follow(change)

    route, project = routes.function(ORDER.id), routes.project(SHOP.slug)
    assert (route and route.version, project and project.name) == (9, "Renamed")
    assert routes.principal("isk_new") is not None

    routes.follow(KeyDeleted(key_id=key.id))
    routes.follow(FunctionDeleted(function_id=ORDER.id, project_id=ORDER.project_id))
    assert (routes.principal("isk_new"), routes.function(ORDER.id)) == (None, None)

    routes.follow(FunctionChanged(function=ORDER))
    routes.follow(ProjectDeleted(project=SHOP))
    assert (routes.project(SHOP.slug), routes.function(ORDER.id)) == (None, None)


class Untouched(str):
    """A text that nobody may compare or hash any more, once `watched`."""

    __slots__ = ()
    watched = False

    def __hash__(self) -> int:
        assert not Untouched.watched, "another project's function was looked at"
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        assert not Untouched.watched, "another project's function was looked at"
        return super().__eq__(other)

    def __lt__(self, other: str) -> bool:
        assert not Untouched.watched, "another project's function was looked at"
        return super().__lt__(other)


def test_a_change_costs_nothing_for_each_function_of_other_projects(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [
        replace(HELLO, id=FunctionId(Untouched(f"o{n}")), name=Untouched(f"n{n}"), slug=Untouched(f"s{n}"))
        for n in range(3)
    ]
    table = Routes("root-key")
    table.load(functions=[*others, ORDER], projects=[DEFAULT, SHOP], keys=[])
    monkeypatch.setattr(Untouched, "watched", True)
    table.put_function(replace(ORDER, version=4))
    table.put_function(replace(ORDER, id=FunctionId("f2"), slug="other"))
    table.drop_function(FunctionId("f2"))
    table.drop_project(SHOP)
    monkeypatch.setattr(Untouched, "watched", False)
    assert set(table.functions) == set(table.of_project(DEFAULT.id)) == {"o0", "o1", "o2"}
    assert table.of_project(SHOP.id) == {}


def test_a_name_goes_to_the_next_function_that_has_it(routes: Routes) -> None:
    younger = replace(ORDER, id=FunctionId("f2"), slug="younger", hosts=["a.example"])
    routes.put_function(younger)
    assert routes.named(SHOP.id, "Order") == routes.function("f1")
    routes.put_function(replace(ORDER, name="renamed"))
    assert routes.named(SHOP.id, "Order") == routes.at_host("a.example") == routes.function("f2")
    assert routes.named(SHOP.id, "renamed") == routes.named(SHOP.id, "order") == routes.function("f1")
    routes.put_function(replace(ORDER, hosts=["a.example"]))
    routes.put_function(replace(younger, hosts=[]))
    assert routes.at_host("a.example") == routes.function("f1")
    routes.drop_function(FunctionId("f1"))
    assert routes.named(SHOP.id, "Order") == routes.function("f2")
    assert routes.at_host("a.example") is None
