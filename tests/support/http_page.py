"""Writes the reference page of the native API from its contract."""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, RootModel

from isolet.client.messages import PREFIX
from isolet.contract.examples import BODIES
from isolet.contract.operations import AnyOperation
from tests.support.contract import operations

PAGE = Path(__file__).parents[2] / "docs/reference/http.md"
_HEAD = f"""\
# The native API

Every operation below `{PREFIX}`, by the names that the [Python client](../guide/python-client.md) gives them. The key
goes into `X-API-Key`, or into `Authorization` as a bearer token; [keys](../guide/keys.md) says which role may do what.
Bodies and replies are JSON unless an operation says otherwise. A refusal is `{{"error": {{"code", "message"}}}}`, some
with `details`. Lists take `limit` and `cursor`, and answer `data` and `next_cursor`. `/docs` of a running server has
the same with all schemas, and the other three APIs; [which API](../guide/which-api.md) says what those are for.

This page is made from `src/isolet/contract` by `scripts/http-page`.
"""


def http_page() -> str:
    by_resource = groupby(operations().items(), key=lambda item: item[0].partition(".")[0])
    return _HEAD + "".join(
        f"\n## {resource}\n" + "".join(_shown(name, operation) for name, operation in found)
        for resource, found in by_resource
    )


def _shown(name: str, operation: AnyOperation) -> str:
    lines = ["", f"### {name}", "", f"`{operation.method} {PREFIX}{operation.path}`"]
    if about := inspect.getdoc(operation):
        lines += ["", about]
    rows = [f"| `{one}` | {where} | {kind} | {default} |" for one, where, kind, default in _parameters(operation)]
    if rows:
        lines += ["", "| parameter | in | type | default |", "|---|---|---|---|", *rows]
    if operation.id in BODIES:
        lines += ["", "```json", json.dumps(BODIES[operation.id], indent=2, ensure_ascii=False), "```"]
    return "\n".join([*lines, "", _reply(operation)]) + "\n"


def _parameters(operation: AnyOperation) -> Iterator[tuple[str, str, str, str]]:
    for parameter in operation.parameters:
        name, default = parameter.name, parameter.default
        if name in ("body", "content"):
            continue
        if f"{{{name}}}" in operation.path:
            where = "path"
        elif name in operation.headers:
            where, name = "header", operation.headers[name]
        else:
            where, name = "query", operation.queries.get(name, name)
        shown = "" if default in (None, inspect.Parameter.empty) else f"`{json.dumps(default)}`"
        yield name, where, _kind(parameter.annotation), shown


def _reply(operation: AnyOperation) -> str:
    reply, status = operation.reply, operation.status
    if reply is type(None):
        return f"Replies {status} without a body."
    if inspect.isclass(reply) and issubclass(reply, BaseModel):
        if issubclass(reply, RootModel):
            return f"Replies {status} with {_kind(reply.model_fields['root'].annotation)}."
        names = ", ".join(f"`{field.alias or name}`" for name, field in reply.model_fields.items())
        return f"Replies {status} with {names}."
    return f"Replies {status} with `{operation.media_type}`."


def _kind(hint: Any) -> str:
    """A type as readers of JSON know it."""
    if isinstance(hint, str):
        return (
            hint.replace(" | None", "").replace("str", "text").replace("int", "number").replace("bool", "true or false")
        )
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(_kind(one) for one in typing.get_args(hint) if one is not type(None))
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(f"`{one}`" for one in typing.get_args(hint))
    origin = typing.get_origin(hint) or hint
    names = {str: "text", int: "number", float: "number", bool: "true or false", dict: "an object", list: "a list"}
    return names.get(origin, getattr(origin, "__name__", str(origin)))


if __name__ == "__main__":
    PAGE.write_text(http_page())
