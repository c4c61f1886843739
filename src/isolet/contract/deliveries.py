"""Deliveries of callbacks."""

from __future__ import annotations

from isolet.contract.invocations import DeliveryReply
from isolet.contract.models import Body, Page, Reply
from isolet.contract.operations import Mode, Resource, operation


class DeliveryFilter(Body):
    """Which failed callbacks to send again; `function` is an id, slug or name, times are ISO 8601, or milliseconds."""

    function: str | None = None
    host: str | None = None
    since: str | None = None
    until: str | None = None


class RedeliveredReply(Reply):
    """How many callbacks are sent again."""

    redelivered: int


class Deliveries(Resource[Mode]):
    tag = "deliveries"

    @operation("GET", "/deliveries")
    def list(
        self,
        *,
        project: str | None = None,
        status: str | None = None,
        function: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[DeliveryReply]:
        """Newest first; of all projects for the root key, unless it names one by its slug."""

    @operation("POST", "/deliveries/redeliver", status=202)
    def redeliver(self, body: DeliveryFilter, *, project: str | None = None) -> RedeliveredReply:
        """Send the failed callbacks again that a filter chooses."""
