"""A function's code: read, changed, deployed, compared. The editor saves and deploys by the API (`relay.py`)."""

from __future__ import annotations

from contextlib import suppress

from starlette.responses import Response

from isolet.client.errors import Forbidden
from isolet.contract.functions import FunctionReply
from isolet.dashboard.function_pages import function_of, render
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit

section = Section("", "functions/{function_id}", api="GET /isolet/v1/functions/{function_id}", under="Functions")
_API = "PUT /isolet/v1/functions/{function_id}/files, POST /isolet/v1/functions/{function_id}/deploy"
_KINDS = {"kv": "a KV store", "d1": "a SQL database", "sql": "a SQL database"}


@section.get("")
async def home(visit: Visit) -> Response:
    return visit.go("functions", visit.request.path_params["function_id"], "code")


@section.get("/code", api=_API)
async def show(visit: Visit) -> Response:
    function = await function_of(visit)
    sources = (await visit.api.functions.get_files(function.id)).to_json()
    return await render(
        visit,
        "Code",
        "function_code.html",
        function,
        files=sources["files"],
        entry=sources["entry"],
        bindings=await _bindings(visit, function),
        deploy_error=None if function.deploy_error is None else function.deploy_error.to_json(),
        with_nonce=True,
    )


async def _bindings(visit: Visit, function: FunctionReply) -> list[dict[str, str]]:
    """What `env` has, as far as the session may know. A variable stands above a secret of its name."""
    found = {"KV": "the project's KV store", "DB": "the project's SQL database"}
    for name, binding in function.bindings.items():
        kind = binding.get("type", "") if isinstance(binding, dict) else str(binding)
        found[name] = _KINDS.get(kind, kind)
    found |= {secret.name: "secret" for secret in (await visit.api.secrets.list(function.id)).data}
    with suppress(Forbidden):  # A reader may not know them.
        found |= dict.fromkeys((await visit.api.variables.get(function.id)).root, "variable")
    return [{"name": name, "kind": kind} for name, kind in found.items()]
