"""What the API pages show beyond what the web framework knows: calls of functions, and bodies that doors read raw."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any

from isolet.api.altair.calls import PREFIX as ALTAIR
from isolet.api.butterbase.calls import PREFIX as BUTTERBASE
from isolet.api.described import SENTENCES
from isolet.api.kapso.calls import OLDER, PLATFORM, TAGS
from isolet.api.native import PREFIX as NATIVE

_WITH_BODY = ("post", "put", "patch")
_EVERY = ("get", *_WITH_BODY, "delete")
_REFUSED = {
    400: "The request cannot be read",
    401: "No credentials, or not valid ones",
    403: "The key lacks the role",
    404: "There is no such function",
    409: "The function is not deployed",
    413: "The body is too large",
    422: "The function is not deployed",
    429: "Too many calls",
    500: "The function failed",
    502: "The function crashed or took too much memory",
    504: "The function took too long",
}
_REPLY = {"200": {"description": "The function's reply, which may have any status"}}
_NOT_READY = {"202": {"description": "The function is not deployed"}}
_ACCEPTED = {"202": {"description": "Accepted: the call will run, X-Invocation-Id names it"}}
_SECURITY: list[dict[str, list[str]]] = [{"APIKeyHeader": []}, {"HTTPBearer": []}]
_WITHOUT_KEY = frozenset({"/healthz", "/oauth2/token", "/oauth2/revoke"})
_ABOUT = """Functions, their calls, stores and settings, in four dialects: the platform's own API below `/isolet/v1`, \
and those of Kapso, Butterbase and Altair, which clients of these platforms use unchanged.

Press *Authorize* and give an API key, as `X-API-Key` or as a bearer token. The root key may do everything; a \
project's keys have a role: `invoke` calls functions, `deploy` also changes them, `admin` also makes keys. \
`POST /isolet/v1/projects/{slug}/keys` makes one."""
_JSON, _BYTES, _FORM = "application/json", "application/octet-stream", "application/x-www-form-urlencoded"

_CODE = "export default async (request) => new Response('Hello');"
_ENV = (_JSON, {"envVars": {"GREETING": "Hello", "OLD": None}})
_BUTTERBASE_FUNCTION = (
    _JSON,
    {"name": "hello", "code": _CODE, "envVars": {}, "trigger": {"type": "http", "config": {"auth": "none"}}},
)
_ALTAIR_FUNCTION = (_JSON, {"name": "hello", "source": {"code": base64.b64encode(_CODE.encode()).decode()}, "env": {}})
_TOKEN = (_FORM, {"grant_type": "client_credentials", "client_id": "root", "client_secret": "…"})
_BODIES: dict[tuple[str, str], tuple[str, Any]] = {
    ("put", NATIVE + "/projects/{slug}/kv/{key}"): (_BYTES, "value"),
    ("post", NATIVE + "/projects/{slug}/database/import"): ("application/sql", "CREATE TABLE t (a);"),
    ("post", NATIVE + "/projects/{slug}/restore"): ("application/x-tar", None),
    ("post", BUTTERBASE + "/{app_id}/functions"): _BUTTERBASE_FUNCTION,
    ("patch", BUTTERBASE + "/{app_id}/functions/{name}/env"): _ENV,
    ("patch", BUTTERBASE + "/{app_id}/functions/{name}/settings"): (_JSON, {"allow_service_key_impersonation": True}),
    ("patch", BUTTERBASE + "/{app_id}/env"): _ENV,
    ("post", ALTAIR + "{space}/functions"): _ALTAIR_FUNCTION,
    ("put", ALTAIR + "{space}/functions/{name}"): _ALTAIR_FUNCTION,
    ("post", "/oauth2/token"): _TOKEN,
    ("post", "/oauth2/revoke"): (_FORM, {"token": "…"}),
}


def completed(generate: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """The framework's description with ours in it, made once."""
    made: dict[str, Any] = {}
    # Making it takes long, so some ask for it on a thread.
    making = Lock()

    def describe() -> dict[str, Any]:
        with making:
            if not made:
                made.update(_complete(generate()))
        return made

    return describe


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    for path, method, operation in _calls():
        document["paths"].setdefault(path, {})[method] = operation
    for (method, path), (media_type, example) in _BODIES.items():
        operation = document["paths"][path][method]
        known = operation.get("requestBody", {}).get("content", {}).get(media_type)
        if known is None:
            operation["requestBody"] = _body(media_type, example, required=True)
        else:
            known["example"] = example
    _settle(document)
    return document


def _settle(document: dict[str, Any]) -> None:
    """What the framework says of every operation, put right: refusals in the dialect, and who needs no key.

    The tags are in the order in which a reader needs them: the platform's own API first, the older base last.
    """
    tags: dict[str, bool] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operation.setdefault("description", SENTENCES.get(f"{method} {path}", ""))
            if "422" in operation["responses"]:
                refused = operation["responses"]["422"]
                refused["content"] = {_JSON: {"schema": _error_of(path)}}
            operation["security"] = [] if path in _WITHOUT_KEY else _SECURITY
            for status, reply in operation["responses"].items():
                shown = reply.get("content", {}).get(_JSON)
                if status.startswith("2") and shown is not None and "$ref" not in shown["schema"]:
                    # The framework guesses a text, or members of made-up names.
                    reply["content"][_JSON] = {"schema": {"type": "object"}}
            for tag in operation.get("tags", ()):
                tags[tag] = tags.get(tag, False) or path.startswith(NATIVE)
    dialects = {tag: number for number, tag in enumerate((TAGS[PLATFORM], "Butterbase", "Altair", TAGS[OLDER]), 1)}
    document["tags"] = [{"name": tag} for tag in sorted(tags, key=lambda tag: dialects.get(tag, 0))]
    document["info"]["description"] = _ABOUT
    for unused in ("HTTPValidationError", "ValidationError"):
        document.get("components", {}).get("schemas", {}).pop(unused, None)


def _error_of(path: str) -> dict[str, Any]:
    """The shape of an error in the dialect of a path."""
    text, details = {"type": "string"}, {"type": "object"}
    if path.startswith((PLATFORM, OLDER)):
        return _object(error=text)
    if path.startswith(BUTTERBASE):
        told = _object(code=text, message=text, remediation=text, documentation_url=text)
    elif path.startswith((ALTAIR, "/oauth2")):
        told = _object(status={"type": "integer"}, message=text)
    else:
        told = _object(code=text, message=text)
    told["properties"]["details"] = details
    return _object(error=told)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _calls() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for base, refused in ((PLATFORM, ()), (OLDER, (401,))):
        codes = (400, *refused, 404, 413, 422, 429, 500)
        yield from _call(base + "/functions/{function_id}/invoke", ("post",), TAGS[base], _REPLY, codes)
    ended = (413, 429, 500, 502, 504)
    owners = BUTTERBASE + "/{app_id}/functions/{name}/invoke"
    yield from _call(BUTTERBASE + "/{app_id}/fn/{name}", _EVERY, "Butterbase", _REPLY, (401, 404, *ended))
    yield from _call(owners, ("post",), "Butterbase", _REPLY, (400, 401, 403, 404, *ended))
    altair = ALTAIR + "{space}/functions/{name}/"
    yield from _call(altair + "invoke", _EVERY, "Altair", {**_REPLY, **_NOT_READY}, (401, 404, *ended))
    sent = ("X-Callback-URL", "Idempotency-Key")
    codes = (400, 401, 404, 409, 413, 429)
    yield from _call(altair + "async-invoke", ("post",), "Altair", _ACCEPTED, codes, headers=sent)


def _call(
    path: str,
    methods: tuple[str, ...],
    tag: str,
    replies: dict[str, Any],
    refused: tuple[int, ...],
    headers: tuple[str, ...] = (),
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    kind = path.rpartition("/")[2] if path.endswith("invoke") else "call"
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    text = {"type": "string"}
    for method in methods:
        operation = {
            "tags": [tag],
            "summary": kind.replace("-", " ").capitalize(),
            "operationId": f"{kind}_{path.strip('/').translate(_AS_NAME)}_{method}",
            "parameters": [
                *({"name": name, "in": "path", "required": True, "schema": text} for name in names),
                *({"name": name, "in": "header", "required": False, "schema": text} for name in headers),
            ],
            "responses": {**replies, **{str(code): {"description": _REFUSED[code]} for code in refused}},
            "security": _SECURITY,
        }
        if method in _WITH_BODY:
            operation["requestBody"] = _body(_JSON, {"name": "world"}, required=False)
        yield path, method, operation


_AS_NAME = str.maketrans({"/": "_", "{": "_", "}": "_", "-": "_"})


def _body(media_type: str, example: Any, *, required: bool) -> dict[str, Any]:
    schema = {"type": "object"} if isinstance(example, dict) else {"type": "string", "format": "binary"}
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"required": required, "content": {media_type: content}}
