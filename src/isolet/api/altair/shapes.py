"""Altair's JSON: what its requests say and how its objects look."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from isolet.domain.cron import read_cron
from isolet.domain.environment import bounded
from isolet.domain.functions import Function, FunctionStatus, check_slug, is_storable
from isolet.domain.json_bounds import bounded_json
from isolet.domain.secrets import RESERVED_NAMES
from isolet.errors import InvalidInput, RequestError
from isolet.ids import to_ulid

TEMPLATE = "javascript-http"
_STATUS = {
    FunctionStatus.DRAFT: "Building",
    FunctionStatus.DEPLOYED: "Running",
    FunctionStatus.ERROR: "Failed",
}


def creation(body: Any) -> dict[str, Any]:
    """The values of a new function. Raises InvalidInput."""
    sent = _object("the request", body)
    values = _values(sent)
    name = check_slug(sent.get("name"))
    if "code" not in values:
        raise InvalidInput("source.code is required")
    return {**values, "name": name, "slug": name, "door_settings": _settings(sent)}


def replacement(body: Any, before: Function) -> dict[str, Any]:
    """What a `PUT` changes: all of it, but the code stays when it is not sent."""
    sent = _object("the request", body)
    if sent.get("name", before.slug) != before.slug:
        raise InvalidInput("name cannot be changed")
    return {"description": None, **_values(sent), "door_settings": _settings(sent)}


def function_object(function: Function, space: str, invocations: int, env: Mapping[str, str]) -> dict[str, Any]:
    """`invocations` are the calls on record; a live version always has a replica that a call finds or starts."""
    replicas = int(function.version is not None)
    settings = function.door_settings or {}
    return {
        "id": to_ulid(function.id),
        "space": space,
        "name": function.slug,
        "description": function.description or "",
        "template": TEMPLATE,
        "env": dict(env),
        "options": settings.get("options", {}),
        "status": _STATUS[function.status],
        "metrics": {"invocations": invocations, "replicas": replicas, "available_replicas": replicas},
        "created_at": time(function.created_at_ms),
        "updated_at": time(function.updated_at_ms),
    }


def encoded(code: str) -> str:
    return base64.b64encode(code.encode()).decode()


def _values(sent: dict[str, Any]) -> dict[str, Any]:
    if sent.get("template", TEMPLATE) != TEMPLATE:
        raise InvalidInput(f"template must be {TEMPLATE}")
    values = {"description": sent["description"]} if "description" in sent else {}
    source = _object("source", sent.get("source") or {})
    if "code" in source:
        values["code"] = _decoded(source["code"])
    return values


def _settings(sent: dict[str, Any]) -> dict[str, Any]:
    env = _object("env", sent.get("env") or {})
    if not all(isinstance(value, str) for value in env.values()):
        raise InvalidInput("env: every value must be a string")
    if not all(name and is_storable(name) and is_storable(value) for name, value in env.items()):
        raise InvalidInput("env: a name is empty, or a name or a value holds characters that cannot be stored")
    if reserved := sorted(env.keys() & RESERVED_NAMES):
        raise InvalidInput(f"env: {reserved[0]} is the name of a binding")
    options = bounded_json("options", _object("options", sent.get("options") or {}))
    if options.get("schedule") is not None:
        try:
            read_cron(options["schedule"], field="options.schedule")
        except InvalidInput as exc:
            raise RequestError(exc.message) from exc
    return {
        "env": bounded(env),
        "options": options,
    }


def _decoded(value: object) -> str:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        pass
    raise InvalidInput("source.code must be base64 of text in UTF-8")


def _object(label: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{label} must be a JSON object")
    return value


def time(ms: int | None) -> str | None:
    """`2020-08-11T15:29:51`, in UTC and without a zone."""
    if ms is None:
        return None
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}"
