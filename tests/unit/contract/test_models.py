"""Replies as JSON: what was set, and JSON of a tenant's choice as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

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
