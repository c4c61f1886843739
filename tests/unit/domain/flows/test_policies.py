from __future__ import annotations

from typing import Any

import pytest

from isolet.domain.flows.graph import read_graph
from isolet.domain.flows.policies import (
    DEFAULT,
    OnError,
    Policy,
    UnknownEdge,
    check_policies,
    further_targets,
    read_policies,
)
from isolet.errors import InvalidInput
from tests.unit.domain.flows.test_graph import _definition, _ids, edge, node

GRAPH = read_graph(
    _definition(
        node("charge", "function", function_slug="charge"), node("sorry", "handoff"), edges=[edge("start", "charge")]
    ),
    _ids(),
)


def test_a_policy_has_defaults_for_what_is_absent_or_null():
    policies = read_policies({"charge": {}, "sorry": {"retries": None, "timeout_s": None, "on_error": None}})

    assert policies == {"charge": DEFAULT, "sorry": DEFAULT}
    assert (
        Policy(
            retries=0, backoff_s=1, timeout_s=None, on_error=OnError.FAIL, go_to=None, on_unknown_edge=UnknownEdge.FAIL
        )
        == DEFAULT
    )


def test_a_policy_is_read_whole():
    sent = {
        "charge": {
            "retries": 3,
            "backoff_s": 0.5,
            "timeout_s": 30,
            "on_error": {"go_to": "sorry"},
            "on_unknown_edge": "first",
        }
    }

    policies = read_policies(sent)

    assert policies["charge"] == Policy(
        retries=3,
        backoff_s=0.5,
        timeout_s=30,
        on_error=OnError.GO_TO,
        go_to="sorry",
        on_unknown_edge=UnknownEdge.FIRST,
    )
    assert further_targets(policies) == {"charge": ("sorry",)}


def test_the_delay_doubles_to_an_hour_and_ends_with_the_retries():
    policy = Policy(retries=20, backoff_s=2)

    delays = [policy.delay_ms(attempts, 0.5) for attempts in (1, 2, 3, 20, 21)]

    assert delays == [2_000, 4_000, 8_000, 3_600_000, None]
    assert DEFAULT.delay_ms(1, 0.5) is None


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ([], "policies must be"),
        (None, "policies must be"),
        ({f"n{number}": {} for number in range(501)}, "more than 500"),
        ({"1": {}}, "'1' is no id"),
        ({"a\x00b": {}}, "is no id"),
        ({"a" * 5_000: {}}, "…' is no id"),
        ({"a": None}, "policies.a must be an object"),
        ({"a": {"retry": 1}}, "policies.a.'retry' is not known"),
        ({"a": {"\ud800" * 900: 1}}, "is not known"),
        ({"a": {"retries": True}}, "policies.a.retries"),
        ({"a": {"retries": 1.0}}, "policies.a.retries"),
        ({"a": {"retries": 21}}, "from 0 to 20"),
        ({"a": {"retries": -1}}, "policies.a.retries"),
        ({"a": {"backoff_s": 3_601}}, "from 0 to 3600"),
        ({"a": {"backoff_s": float("nan")}}, "policies.a.backoff_s"),
        ({"a": {"timeout_s": 0}}, "from 0.1 to 86400"),
        ({"a": {"timeout_s": float("inf")}}, "policies.a.timeout_s"),
        ({"a": {"timeout_s": 10**400}}, "policies.a.timeout_s"),
        ({"a": {"timeout_s": "5"}}, "policies.a.timeout_s"),
        ({"a": {"on_error": "go_to"}}, "policies.a.on_error must be"),
        ({"a": {"on_error": ["fail"]}}, "policies.a.on_error must be"),
        ({"a": {"on_error": {"go_to": "b", "more": 1}}}, "policies.a.on_error must be"),
        ({"a": {"on_error": {"go_to": 7}}}, "policies.a.on_error.go_to"),
        ({"a": {"on_unknown_edge": "last"}}, "fail, first"),
        ({"a": {"on_unknown_edge": {}}}, "fail, first"),
    ],
)
def test_a_policy_that_breaks_a_rule_is_refused_with_its_name(sent: Any, named: str):
    with pytest.raises(InvalidInput) as refused:
        read_policies(sent)

    assert named in refused.value.message
    assert len(refused.value.message) < 1_000


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ({"gone": {}}, "policies.gone"),
        ({"charge": {"on_error": {"go_to": "gone"}}}, "policies.charge.on_error.go_to: the workflow has no node gone"),
    ],
)
def test_a_policy_for_a_node_that_is_not_there_is_refused(sent: Any, named: str):
    check_policies(read_policies({"charge": {"on_error": {"go_to": "sorry"}}}), GRAPH)

    with pytest.raises(InvalidInput) as refused:
        check_policies(read_policies(sent), GRAPH)

    assert named in refused.value.message
