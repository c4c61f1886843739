"""A project: the tenant that functions, keys and stores belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import urlsplit

from msgspec import Struct, field

from isolet.domain.choices import one_of
from isolet.domain.json_bounds import bounded_json
from isolet.errors import InvalidInput
from isolet.ids import ProjectId

DEFAULT_SLUG = "default"
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Plan(StrEnum):
    UNLIMITED = "unlimited"
    FREE = "free"
    PRO = "pro"
    ENTERPRISE = "enterprise"
    PLATFORM = "platform"


class Project(Struct, frozen=True, kw_only=True):
    """`limits` holds what the operator set in place of the server's defaults.

    `egress_allow` are those of the operator's networks that the project's functions may reach; None for all.
    """

    id: ProjectId
    slug: str
    name: str
    plan: Plan = Plan.UNLIMITED
    allowed_origins: tuple[str, ...] = ("*",)
    limits: Mapping[str, int] = field(default_factory=dict)
    egress_allow: tuple[str, ...] | None = None
    created_at_ms: int = 0

    def __hash__(self) -> int:
        return hash(self.id)


def check_slug(value: object) -> str:
    if not isinstance(value, str) or not _SLUG.fullmatch(value):
        raise InvalidInput(
            "slug must be 1 to 63 lower case letters, digits and hyphens, not starting or ending with a hyphen"
        )
    return value


def check_plan(value: object) -> Plan:
    return one_of("plan", value, Plan)


def check_origins(value: object) -> tuple[str, ...]:
    """Origins such as `https://app.example.com`, or `*`. Raises InvalidInput."""
    if not isinstance(value, list) or not all(isinstance(origin, str) for origin in value):
        raise InvalidInput("allowed_origins must be a list of strings")
    bounded_json("allowed_origins", value)
    for origin in value:
        if origin != "*" and not _is_origin(origin):
            raise InvalidInput(f"allowed_origins: {origin!r} is not an origin such as https://app.example.com")
    return tuple(value)


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host or f"{parts.scheme}://{parts.netloc}" != text:
        return False
    return not re.search(r"[\s@\\]", text)
