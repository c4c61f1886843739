"""Webhooks as tools of an agent node: a request to an address that the workflow's author chose."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from isolet.agents.turn import ToolOutcome, Turn
from isolet.domain.chat import Offered
from isolet.domain.flows.templates import as_text, is_found, look_up
from isolet.domain.json_schemas import ANY_OBJECT
from isolet.errors import InvalidInput
from isolet.flows.functions import STEP_KEY_HEADER, read_json
from isolet.flows.performers.webhook import address_of, headers_of
from isolet.functions.tool_checks import ToolChecks
from isolet.runtime.outgoing import Outgoing, Requests

# What stands for text that a model writes.
AI = "$ai"
TIMEOUT_S = 60.0
REPLY_MAX_BYTES = 262_144
_BODYLESS = frozenset({"GET", "DELETE"})
# Of JMESPath: names, and places in lists.
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*|\[[0-9]{1,9}\])*")


class WebhookTool(Struct, frozen=True, kw_only=True):
    """`settings` are as the node has them. The arguments are the body, or the query of a request that has none.

    Where the author wrote a body and no schema for it, that body is sent; those of its members that are `{"$ai": {}}`
    are the arguments.
    """

    offered: Offered
    settings: Mapping[str, Any]
    requests: Requests
    checks: ToolChecks
    kind: str = "webhook"

    async def run(self, turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome:
        project_id = turn.step.execution.project_id
        await self.checks.arguments(project_id, self.offered.schema, arguments)
        request = await asyncio.to_thread(self._request, turn, arguments)
        reply = await self.requests.send(project_id, request, timeout_s=TIMEOUT_S, max_bytes=REPLY_MAX_BYTES)
        is_error = not 200 <= reply.status < 300
        value = await asyncio.to_thread(_value, reply.body)
        if is_error:
            return ToolOutcome(value={"status": reply.status, "body": value}, is_error=True)
        return ToolOutcome(value=self._part(value))

    def _request(self, turn: Turn, arguments: Mapping[str, Any]) -> Outgoing:
        """Raises InvalidInput."""
        rendering = turn.rendering()
        url = rendering.text(str(self.settings["url"]))
        method = str(self.settings.get("http_method") or self.settings.get("method") or "POST").upper()
        written = self.settings.get("body", self.settings.get("body_template"))
        takes = self.settings.get("body_schema") is not None or not written
        body = arguments if takes else rendering.value(written)
        if not takes and isinstance(body, Mapping):
            body = {**body, **{name: arguments.get(name) for name in _written_by_model(written)}}
        if method in _BODYLESS:
            if takes and arguments:
                texts = {name: as_text(value) for name, value in arguments.items()}
                url += ("&" if "?" in url else "?") + urlencode(texts, errors="replace")
            data = b""
        else:
            data = json.dumps(body, separators=(",", ":")).encode()
        headers = [*headers_of(rendering.value(self.settings.get("headers") or {})), _step_key(turn)]
        if data and not any(name == "content-type" for name, _ in headers):
            headers.append(("content-type", "application/json"))
        return Outgoing(method=method, url=address_of(url), headers=headers, body=data)

    def _part(self, value: Any) -> Any:
        """What `jmespath_query` leads to, where there is one."""
        query = self.settings.get("jmespath_query")
        if not isinstance(query, str) or not query.strip():
            return value
        if _PATH.fullmatch(query.strip()) is None:
            raise InvalidInput("jmespath_query is not supported: it may have names and places in lists only")
        path = query.strip().replace("[", ".").replace("]", "")
        found = look_up({"vars": {"reply": value}}, f"vars.reply.{path}")
        return found if is_found(found) else None


def _step_key(turn: Turn) -> tuple[str, str]:
    return STEP_KEY_HEADER.decode(), turn.step.step_key


def schema_of(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a webhook takes of the model."""
    schema = settings.get("body_schema")
    if isinstance(schema, Mapping):
        return schema
    written = settings.get("body", settings.get("body_template"))
    if not written:
        return ANY_OBJECT
    names = _written_by_model(written)
    told = settings.get("ai_field_config")
    prompts = told if isinstance(told, Mapping) else {}
    return {"type": "object", "properties": {name: _about(prompts.get(name)) for name in names}, "required": names}


def _written_by_model(body: Any) -> list[str]:
    """The members of a body that are the model's to fill."""
    members = body.items() if isinstance(body, Mapping) else ()
    return [name for name, value in members if isinstance(value, Mapping) and AI in value]


def _about(told: Any) -> dict[str, Any]:
    prompt = told.get("prompt") if isinstance(told, Mapping) else None
    return {"description": prompt} if isinstance(prompt, str) else {}


def _value(body: bytes) -> Any:
    """Raises InvalidInput for more values than are read at once."""
    value = read_json(body)
    return "" if value is None and not body.strip() else value
