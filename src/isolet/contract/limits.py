"""What functions and callers may use."""

from __future__ import annotations

from isolet.contract.models import Number, Reply
from isolet.contract.operations import Mode, Resource, operation

Amounts = dict[str, Number | None]


class BoundsReply(Reply):
    default: int
    minimum: int
    maximum: int


class LimitsReply(Reply):
    """Units are in the names; null: no limit."""

    function: dict[str, BoundsReply]
    call: Amounts
    management: Amounts
    deploy: Amounts
    record: Amounts
    kv: Amounts
    database: Amounts
    private: Amounts
    setting: Amounts
    secret: Amounts
    credentials: Amounts
    realtime: Amounts
    stores: Amounts
    tools: Amounts
    agents: Amounts
    flows: Amounts
    workflows: Amounts
    workflow_starts_a_second: Amounts
    instances: int
    requests_a_minute: Amounts
    project: Amounts


class Limits(Resource[Mode]):
    tag = "operation"

    @operation("GET", "/limits")
    def get(self) -> LimitsReply:
        """All limits of the server, and those of each project."""
