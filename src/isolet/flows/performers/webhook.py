"""The node that makes an HTTP request; it leaves through the project's egress process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from isolet.domain.flows.run_variables import assigned, dump
from isolet.domain.flows.templates import as_text
from isolet.domain.invocations import storable
from isolet.errors import InvalidInput, Unanswered
from isolet.flows.functions import STEP_KEY_HEADER, read_json
from isolet.flows.performer import Failed, Next, StepContext, StepResult
from isolet.runtime.outgoing import Headers, Outgoing, Requests, Whole

TIMEOUT_S = 30.0
RESPONSE_MAX_BYTES = 1_048_576
_URL_MAX_CHARS = 8_192
_SMALL_BYTES = 16_384
_URL_CHARS = "%:/?#[]@!$&'()*+,;=-._~"
_NOT_SENT = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})


class WebhookNode:
    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def perform(self, step: StepContext) -> StepResult:
        request = await step.work(lambda: _request(step))
        # The settings as they were written: what templates put into an address may be secret.
        told: dict[str, Any] = {"method": request.method, "url": str(step.node.config["url"])[:500]}
        step.event("action_executing", told)
        began_ms = step.clock.now_ms()
        try:
            reply = await self._requests.send(
                step.execution.project_id,
                request,
                timeout_s=min(TIMEOUT_S, step.timeout_s or TIMEOUT_S),
                max_bytes=RESPONSE_MAX_BYTES,
            )
        except Unanswered as exc:
            step.event("action_failed", {**told, "error": exc.message})
            return Failed(error=exc.message, code="webhook_failed")
        told |= {"status": reply.status, "duration_ms": step.clock.now_ms() - began_ms}
        step.large = step.large or len(reply.body) > _SMALL_BYTES
        return await step.work(lambda: _answered(step, reply, told))


def _answered(step: StepContext, reply: Whole, told: Mapping[str, Any]) -> StepResult:
    if not 200 <= reply.status < 300:
        error = f"the webhook answered {reply.status}"
        if 300 <= reply.status < 400:
            error += "; redirects are not followed"
        step.event("action_failed", {**told, "error": error, "response": reply.body[:1_000].decode(errors="replace")})
        return Failed(error=error, code="webhook_failed")
    step.event("action_performed", told)
    name = step.node.config.get("save_response_to")
    if not name:
        return Next()
    step.event("variables_set", {"name": name, "source": "response"})
    return Next(variables=assigned(step.spaces.vars, name, read_json(reply.body)))


def _request(step: StepContext) -> Outgoing:
    """Raises InvalidInput."""
    config, rendering = step.node.config, step.rendering
    method = config.get("method") or "POST"
    body, content_type = body_of(rendering.value(config.get("body_template")))
    if method == "GET":
        body = b""
    headers = headers_of(rendering.value(config.get("headers") or {}))
    named = {name for name, _ in headers}
    if body and "content-type" not in named:
        headers = [*headers, ("content-type", content_type)]
    headers = [*headers, (STEP_KEY_HEADER.decode(), step.step_key)]
    return Outgoing(method=method, url=address_of(rendering.text(config["url"])), headers=headers, body=body)


def address_of(text: str) -> str:
    """The address in ASCII. Raises InvalidInput for what is none."""
    address = quote(storable(text.strip()), safe=_URL_CHARS).partition("#")[0]
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or len(address) > _URL_MAX_CHARS:
        raise InvalidInput("url: what its templates make of it is no http or https address")
    return address


def headers_of(value: Any) -> Headers:
    """Without those that belong to the connection. Raises InvalidInput."""
    if not isinstance(value, Mapping):
        raise InvalidInput("headers must be an object")
    return [(name.lower(), as_text(given)) for name, given in value.items() if name.lower() not in _NOT_SENT]


def body_of(value: Any) -> tuple[bytes, str]:
    """A body and its content type: text as it is, everything else as JSON."""
    if value is None:
        return b"", ""
    if not isinstance(value, str):
        return dump(value).encode(), "application/json"
    kind = "application/json" if value.lstrip()[:1] in ("{", "[") else "text/plain; charset=utf-8"
    return value.encode(errors="replace"), kind
