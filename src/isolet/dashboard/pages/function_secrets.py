"""The secrets of a function, whose values are never shown, and its variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from isolet.client.errors import Forbidden, Refused
from isolet.contract.secrets import SecretValue
from isolet.contract.variables import VariableChanges
from isolet.dashboard.function_pages import function_of, render
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit

section = Section(
    "",
    "functions/{function_id}/secrets",
    api="PUT /isolet/v1/functions/{function_id}/secrets/{name}, PATCH /isolet/v1/functions/{function_id}/variables",
    under="Functions",
)


@section.get("")
async def show(visit: Visit) -> Response:
    return await _show(visit)


async def _show(visit: Visit, *, status: int = 200, error: str | None = None) -> Response:
    function = await function_of(visit)
    secrets = await visit.api.secrets.list(function.id)
    variables: dict[str, str] | None
    try:
        found = await visit.api.variables.get(function.id)
        variables = {name: _shown(value) for name, value in found.root.items()}
    except Forbidden:
        variables = None
    return await render(
        visit,
        "Secrets",
        "function_secrets.html",
        function,
        status=status,
        error=error,
        secrets=secrets.data,
        variables=variables,
    )


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@section.post("/put")
async def put(visit: Visit, form: Mapping[str, str]) -> Response:
    function = await function_of(visit)
    try:
        await visit.api.secrets.put(function.id, form.get("name", "").strip(), SecretValue(value=form.get("value", "")))
    except Refused as exc:
        return await _show(visit, status=exc.status, error=exc.text)
    return visit.go("functions", function.id, "secrets", done="saved")


@section.post("/delete")
async def delete(visit: Visit, form: Mapping[str, str]) -> Response:
    function = await function_of(visit)
    await visit.api.secrets.delete(function.id, form.get("name", ""))
    return visit.go("functions", function.id, "secrets", done="deleted")


@section.post("/variables")
async def change_variable(visit: Visit, form: Mapping[str, str]) -> Response:
    """Set a variable, or with `remove` take it away."""
    function = await function_of(visit)
    value = None if "remove" in form else form.get("value", "")
    try:
        await visit.api.variables.change(function.id, VariableChanges({form.get("name", "").strip(): value}))
    except Refused as exc:
        return await _show(visit, status=exc.status, error=exc.text)
    return visit.go("functions", function.id, "secrets", done="saved" if value is not None else "deleted")
