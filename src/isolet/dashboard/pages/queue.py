"""Asynchronous calls of a project, and the callbacks that tell of their ends."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from isolet.contract.deliveries import DeliveryFilter
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit
from isolet.domain.jobs import JobState

section = Section("Queue", "queue", api="GET /isolet/v1/invocations?kind=async")
STATUSES = tuple(state.value for state in JobState)


@section.get("")
async def calls(visit: Visit) -> Response:
    status = _status(visit)
    found = await visit.api.invocations.list(
        project=visit.slug, kind="async", status=status, cursor=visit.query.get("cursor")
    )
    return await visit.render(
        "queue.html", calls=found.data, next_cursor=found.next_cursor, wanted=status, statuses=STATUSES
    )


@section.get("/callbacks", api="GET /isolet/v1/deliveries")
async def callbacks(visit: Visit) -> Response:
    status = _status(visit)
    found = await visit.api.deliveries.list(project=visit.slug, status=status, cursor=visit.query.get("cursor"))
    return await visit.render(
        "callbacks.html", deliveries=found.data, next_cursor=found.next_cursor, wanted=status, statuses=STATUSES
    )


def _status(visit: Visit) -> str | None:
    status = visit.query.get("status")
    return status if status in STATUSES else None


@section.post("/callbacks/redeliver")
async def redeliver_failed(visit: Visit, _: Mapping[str, str]) -> Response:
    await visit.api.deliveries.redeliver(DeliveryFilter(), project=visit.slug)
    return visit.go("queue", "callbacks", done="redelivered")


@section.post("/{call_id}/cancel")
async def cancel(visit: Visit, _: Mapping[str, str]) -> Response:
    await visit.api.invocations.cancel(visit.request.path_params["call_id"])
    return visit.go("queue", done="cancelled")


@section.post("/{call_id}/replay")
async def replay(visit: Visit, _: Mapping[str, str]) -> Response:
    await visit.api.invocations.replay(visit.request.path_params["call_id"])
    return visit.go("queue", done="replayed")


@section.post("/{call_id}/redeliver")
async def redeliver(visit: Visit, _: Mapping[str, str]) -> Response:
    await visit.api.invocations.redeliver(visit.request.path_params["call_id"])
    return visit.go("queue", "callbacks", done="redelivered")
