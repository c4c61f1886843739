"""The description at `/openapi.json` and the client: the same operations, parameters, bodies and replies."""

from __future__ import annotations

import inspect
import re
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, RootModel

from isolet.client.messages import PREFIX
from isolet.contract.operations import AnyOperation
from tests.support.contract import operations

OPERATIONS = operations()


@pytest.fixture(scope="module")
def document(root: httpx.Client) -> dict[str, Any]:
    described: dict[str, Any] = root.get("/openapi.json").json()
    return described


def test_every_native_operation_has_a_method_of_the_client(document: dict[str, Any]) -> None:
    paths = document["paths"]
    described = {(method.upper(), path) for path in paths if path.startswith(PREFIX) for method in paths[path]}
    assert described == {(operation.method, PREFIX + operation.path) for operation in OPERATIONS.values()}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_an_operation_is_described_as_the_client_sends_it(document: dict[str, Any], operation: AnyOperation) -> None:
    found = document["paths"][PREFIX + operation.path][operation.method.lower()]
    parameters = {parameter.name: parameter for parameter in operation.parameters}
    described = {(one["in"], one["name"]) for one in found.get("parameters", [])}
    assert described == {_place(operation, name) for name in parameters if name not in ("body", "content")}
    required = {one["name"] for one in found.get("parameters", []) if one["required"]}
    assert required == set(re.findall(r"{(\w+)}", operation.path))
    assert ("requestBody" in found) == bool({"body", "content"} & set(parameters))
    if "body" in parameters:
        content = found["requestBody"]["content"]["application/json"]["schema"]
        content = content.get("anyOf", [content])[0]
        schema = document["components"]["schemas"][_name(content)] if "$ref" in content else content
        assert schema["title"] == operation.body.__name__
        assert issubclass(operation.body, RootModel) or schema["additionalProperties"] is False
    if "limit" in parameters:
        assert parameters["limit"].default == 50


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_every_reply_has_a_schema(document: dict[str, Any], operation: AnyOperation) -> None:
    found = document["paths"][PREFIX + operation.path][operation.method.lower()]["responses"][str(operation.status)]
    reply = operation.reply
    if reply is type(None):
        assert "content" not in found
    elif inspect.isclass(reply) and issubclass(reply, BaseModel):
        schema = document["components"]["schemas"][_name(found["content"]["application/json"]["schema"])]
        assert issubclass(reply, RootModel) or set(schema["properties"]) == set(reply.model_fields)
    else:
        assert list(found["content"]) == [operation.media_type]


def _place(operation: AnyOperation, name: str) -> tuple[str, str]:
    if f"{{{name}}}" in operation.path:
        return "path", name
    if name in operation.headers:
        return "header", operation.headers[name]
    return "query", operation.queries.get(name, name)


def _name(schema: dict[str, str]) -> str:
    return schema["$ref"].rpartition("/")[2]
