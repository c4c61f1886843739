"""Replies as JSON: what was set, and JSON of a tenant's choice as it is."""

from __future__ import annotations

import importlib
import json
import pkgutil
from typing import Any

import pytest
from pydantic import ValidationError

import isolet.contract
from isolet.contract.kv import KvKeyReply
from isolet.contract.limits import BoundsReply
from isolet.contract.models import Body, Page, Reply, read
from isolet.contract.projects import ProjectUpdate
from isolet.contract.schedules import ScheduleBackfill
from isolet.contract.usage import AverageReply


def test_what_was_not_set_is_absent() -> None:
    assert KvKeyReply(name="\ud800").to_json() == {"name": "\ud800"}
    assert KvKeyReply(name="a", metadata=None).to_json() == {"name": "a", "metadata": None}


def test_a_member_has_its_name_on_the_wire() -> None:
    assert ScheduleBackfill(from_="a", to="b").to_json() == {"from": "a", "to": "b"}


def test_replies_in_replies_are_json_too() -> None:
    class Outer(Reply):
        one: AverageReply
        by_name: dict[str, BoundsReply]

    bounds = BoundsReply(default=1, minimum=0, maximum=2)
    outer = Outer(one=AverageReply(average=1), by_name={"a": bounds})
    assert json.dumps(outer.to_json()) == (
        '{"one": {"average": 1}, "by_name": {"a": {"default": 1, "minimum": 0, "maximum": 2}}}'
    )
    page = Page[KvKeyReply](data=[KvKeyReply(name="a")], next_cursor=None)
    assert page.to_json() == {"data": [{"name": "a"}], "next_cursor": None}


def test_json_of_any_depth_passes() -> None:
    deep: Any = None
    for _ in range(600):
        deep = [deep]
    assert KvKeyReply(name="a", metadata=deep).to_json()["metadata"] == deep


def test_a_client_passes_members_over_that_it_does_not_know_and_a_server_refuses_them() -> None:
    newer = {"data": [{"name": "a", "newer": 1}], "next_cursor": None, "newer": 1}
    assert read(Page[KvKeyReply], newer) == Page[KvKeyReply](data=[KvKeyReply(name="a")], next_cursor=None)
    with pytest.raises(ValidationError):
        KvKeyReply(name="a", newer=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        ProjectUpdate.model_validate({"newer": 1})
    assert all(body.model_config["extra"] == "forbid" for body in Body.__subclasses__())


for _module in pkgutil.iter_modules(isolet.contract.__path__):
    importlib.import_module(f"isolet.contract.{_module.name}")


def _bodies(model: type[Body] = Body) -> list[type[Body]]:
    known = [one for one in model.__subclasses__() if one.__module__.startswith("isolet")]
    return [*known, *(below for one in known for below in _bodies(one))]


# The server reads these members without their models.
_READ_OTHERWISE = {"files"}


@pytest.mark.parametrize("model", _bodies(), ids=lambda model: model.__name__)
def test_few_faults_are_told_of_a_body_whatever_its_size(model: type[Body]) -> None:
    names = model.model_fields.keys() - _READ_OTHERWISE
    for sent in (
        {f"member-{n}": n for n in range(1_000)},
        {name: [[]] * 1_000 for name in names} | {"unknown": 1},
        {name: {str(n): [] for n in range(1_000)} for name in names} | {"unknown": 1},
    ):
        with pytest.raises(ValidationError) as caught:
            model.model_validate(sent)
        assert caught.value.error_count() <= 100
