"""Who may use a project: its API keys, the signers of its users' tokens, and what signs its callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from isolet.client.errors import Refused
from isolet.contract.keys import KeyCreate
from isolet.contract.tokens import TokenRules
from isolet.dashboard.sections import Section
from isolet.dashboard.visits import Visit
from isolet.domain.access import Role

section = Section("Keys", "keys", api="GET /isolet/v1/projects/{slug}/keys")
ROLES = tuple(role.value for role in Role)
_SIGNERS = ("hs256_secret", "jwks_url")


@section.get("")
async def show(visit: Visit) -> Response:
    return await _render(visit)


async def _render(visit: Visit, *, status: int = 200, error: str | None = None, **told: Any) -> Response:
    found = await visit.api.keys.list(visit.slug, cursor=visit.query.get("cursor"))
    rules = await visit.api.tokens.get(visit.slug)
    signing = await visit.api.webhook_secrets.list(visit.slug)
    known = {"new_key": None, "new_secret": None, **told}
    return await visit.render(
        "keys.html",
        status=status,
        error=error,
        keys=found.data,
        next_cursor=found.next_cursor,
        rules=rules,
        signing=signing.data,
        roles=ROLES,
        **known,
    )


@section.post("")
async def create(visit: Visit, form: Mapping[str, str]) -> Response:
    """The key is in this reply only: it cannot be shown again."""
    ends = form.get("expires_at") or None
    body = KeyCreate(name=form.get("name", ""), role=form.get("role", ""), expires_at=ends and f"{ends}:00Z")
    try:
        return await _render(visit, new_key=await visit.api.keys.create(visit.slug, body))
    except Refused as exc:
        return await _render(visit, status=exc.status, error=exc.text)


@section.post("/{key_id}/delete")
async def delete(visit: Visit, _: Mapping[str, str]) -> Response:
    await visit.api.keys.delete(visit.slug, visit.request.path_params["key_id"])
    return visit.go("keys", done="deleted")


@section.post("/tokens")
async def set_tokens(visit: Visit, form: Mapping[str, str]) -> Response:
    signer = form.get("signer", "")
    if signer not in _SIGNERS:
        return await _render(visit, status=422, error="Choose how tokens are signed")
    rules = TokenRules(
        issuer=form.get("issuer") or None, audience=form.get("audience") or None, **{signer: form.get("value", "")}
    )
    try:
        await visit.api.tokens.set(visit.slug, rules)
    except Refused as exc:
        return await _render(visit, status=exc.status, error=exc.text)
    return visit.go("keys", done="saved")


@section.post("/signing")
async def create_secret(visit: Visit, _: Mapping[str, str]) -> Response:
    try:
        return await _render(visit, new_secret=await visit.api.webhook_secrets.create(visit.slug))
    except Refused as exc:
        return await _render(visit, status=exc.status, error=exc.text)


@section.post("/signing/{secret_id}/delete")
async def delete_secret(visit: Visit, _: Mapping[str, str]) -> Response:
    await visit.api.webhook_secrets.delete(visit.slug, visit.request.path_params["secret_id"])
    return visit.go("keys", done="deleted")
