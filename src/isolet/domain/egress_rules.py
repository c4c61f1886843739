"""Which of the networks that the operator opened the functions of a project may reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from isolet.domain.networks import METADATA, Network, is_below
from isolet.errors import InvalidInput

NETWORKS_MAX = 50
_SHOWN_CHARS = 60


def check_egress(value: object, operators: Sequence[str]) -> tuple[str, ...] | None:
    """CIDRs within the operator's in canonical form; None is all of the operator's. Raises InvalidInput."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InvalidInput("egress_allow must be a list of networks such as 10.1.0.0/16, or null")
    if len(value) > NETWORKS_MAX:
        raise InvalidInput(f"egress_allow may have {NETWORKS_MAX} networks")
    return tuple(dict.fromkeys(_checked(text, operators) for text in value))


def effective(own: Sequence[str] | None, operators: Sequence[str]) -> tuple[str, ...]:
    """What a project's functions may reach now: the operator may have closed a network since."""
    if own is None:
        return tuple(operators)
    return tuple(text for text in own if _is_within(ipaddress.ip_network(text), operators))


def _checked(text: str, operators: Sequence[str]) -> str:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise InvalidInput(f"egress_allow: {text[:_SHOWN_CHARS]!r} is not a network such as 10.1.0.0/16") from None
    if not _is_within(network, operators):
        raise InvalidInput(f"egress_allow: the operator of this server does not allow {network}")
    return str(network)


def _is_within(network: Network, operators: Sequence[str]) -> bool:
    """An address of a metadata service must be opened by the operator by itself, not with the network around it."""
    if str(network) in METADATA:
        return str(network) in operators
    return any(is_below(network, ipaddress.ip_network(other)) for other in operators)
