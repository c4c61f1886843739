from __future__ import annotations

import pytest

from isolet.domain.egress_rules import NETWORKS_MAX, check_egress, effective
from isolet.errors import InvalidInput

OPERATORS = ("10.0.0.0/8", "169.254.0.0/16", "fd00::/8")


def test_null_is_all_of_the_operators_and_an_empty_list_none() -> None:
    assert check_egress(None, OPERATORS) is None
    assert check_egress([], OPERATORS) == ()
    assert effective(None, OPERATORS) == OPERATORS
    assert effective((), OPERATORS) == ()


def test_networks_within_the_operators_are_taken_once_and_in_canonical_form() -> None:
    sent = ["10.1.0.0/16", "10.2.3.4", "10.1.0.0/255.255.0.0", "FD00:0::/16", "10.0.0.0/8"]
    assert check_egress(sent, OPERATORS) == ("10.1.0.0/16", "10.2.3.4/32", "fd00::/16", "10.0.0.0/8")


@pytest.mark.parametrize("network", ["192.168.0.0/16", "0.0.0.0/0", "::/0", "8.0.0.0/6", "9.0.0.0/8", "fc00::/7"])
def test_more_than_the_operators_is_refused(network: str) -> None:
    with pytest.raises(InvalidInput, match="the operator of this server does not allow"):
        check_egress(["10.0.0.0/16", network], OPERATORS)


@pytest.mark.parametrize("network", ["169.254.169.254", "169.254.170.2/32", "fd00:ec2::254"])
def test_a_metadata_service_is_opened_by_an_operator_who_names_it(network: str) -> None:
    with pytest.raises(InvalidInput, match="does not allow"):
        check_egress([network], OPERATORS)
    named = network if "/" in network else network + ("/128" if ":" in network else "/32")
    assert check_egress([network], (*OPERATORS, named)) == (named,)
    assert effective((named,), OPERATORS) == ()


@pytest.mark.parametrize(
    "value",
    [
        "10.0.0.0/8",
        {"10.0.0.0/8": 1},
        7,
        [7],
        [None],
        [""],
        ["10.0.0.1/8"],
        ["10.0.0.0/33"],
        ["example.com"],
        ["10.0.0.0/8\n"],
        ["10.0.0.0/8\0"],
        ["\ud800"],
        ["1" * 100_000],
        ["10.0.0.0/8"] * (NETWORKS_MAX + 1),
    ],
)
def test_what_is_no_list_of_networks_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^egress_allow") as refused:
        check_egress(value, OPERATORS)
    assert len(refused.value.message) < 200


def test_a_network_that_the_operator_closed_since_is_not_reached() -> None:
    assert effective(("10.1.0.0/16", "172.16.0.0/16"), ("10.1.0.0/24", "172.16.0.0/12")) == ("172.16.0.0/16",)
