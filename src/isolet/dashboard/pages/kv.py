"""The KV of a project: keys by namespace and prefix, and one value at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from starlette.responses import RedirectResponse, Response

from isolet.client.errors import NotFound, Refused
from isolet.dashboard.sections import Section
from isolet.dashboard.typed_json import read_json
from isolet.dashboard.visits import Visit

section = Section("KV", "kv", api="GET /isolet/v1/projects/{slug}/kv")
_ENTRY_API = "GET /isolet/v1/projects/{slug}/kv/{key}"
# More of a value is not sent to the browser.
_SHOWN_BYTES = 65_536
# The store takes no shorter time to live.
_TTL_MIN_S = 60
DEFAULT = "default"


@section.get("")
async def browse(visit: Visit) -> Response:
    namespace, prefix = visit.query.get("namespace") or DEFAULT, visit.query.get("prefix", "")
    names = [store.name for store in (await visit.api.stores.list_namespaces(visit.slug)).data]
    try:
        found = await visit.api.kv.list(
            visit.slug, prefix=prefix, cursor=visit.query.get("cursor"), namespace=namespace
        )
        keys, cursor = found.data, found.next_cursor
    except NotFound:
        # It is made when a function first stores something there.
        keys, cursor = [], None
    return await visit.render(
        "kv.html",
        keys=keys,
        next_cursor=cursor,
        namespace=namespace,
        namespaces=sorted({DEFAULT, namespace, *names}),
        prefix=prefix,
        entry_of=lambda key: _entry(visit, namespace, key),
    )


@section.get("/entry", api=_ENTRY_API)
async def show(visit: Visit) -> Response:
    return await _show(visit)


async def _show(
    visit: Visit, *, status: int = 200, error: str | None = None, typed: Mapping[str, str] | None = None
) -> Response:
    namespace, key = visit.query.get("namespace") or DEFAULT, visit.query.get("key", "")
    fields = {"value": "", "metadata": "", "ttl": ""}
    metadata, expiration, size, editable = None, None, None, True
    try:
        found = await visit.api.kv.get(visit.slug, key, namespace=namespace)
        expiration = await _expiration(visit, namespace, key)
        size, metadata = len(found.data), found.metadata
        text, editable = await asyncio.to_thread(_text, found.data)
        fields = {"value": text, "metadata": metadata or "", "ttl": _seconds_left(expiration)}
    except NotFound:
        if error is None and "new" not in visit.query:
            raise
    return await visit.render(
        "kv_entry.html",
        status=status,
        namespace=namespace,
        key=key,
        fields={**fields, **(typed or {})},
        metadata=metadata,
        expiration=expiration,
        size=size,
        editable=editable,
        error=error,
        query=urlencode({"namespace": namespace, "key": key}),
    )


async def _expiration(visit: Visit, namespace: str, key: str) -> int | None:
    """In seconds since the epoch. Of all keys that begin with a key, it is the first itself."""
    first = (await visit.api.kv.list(visit.slug, prefix=key, limit=1, namespace=namespace)).data
    return first[0].expiration if first and first[0].name == key else None


def _seconds_left(expiration: int | None) -> str:
    return "" if expiration is None else str(max(expiration - int(time.time()), _TTL_MIN_S))


def _text(data: bytes) -> tuple[str, bool]:
    """What is shown of a value, and whether a text field gives it back as it is."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data[:_SHOWN_BYTES].hex(" "), False
    # Browsers write line ends anew, and drop NUL.
    kept = "\r" not in text and "\0" not in text
    return text[:_SHOWN_BYTES], kept and len(text) <= _SHOWN_BYTES


@section.post("/put")
async def put(visit: Visit, form: Mapping[str, str]) -> Response:
    """The key is in the address: a hidden field would have its line ends written anew."""
    namespace = visit.query.get("namespace") or DEFAULT
    key = visit.query.get("key") or form.get("key", "")
    value = form.get("value", "").replace("\r\n", "\n")
    try:
        await visit.api.kv.put(
            visit.slug,
            key,
            value.encode(),
            expiration_ttl=_seconds(form.get("ttl", "")),
            metadata=await _metadata(form.get("metadata", "")),
            namespace=namespace,
        )
    except (Refused, ValueError) as exc:
        text = exc.text if isinstance(exc, Refused) else str(exc)
        status = exc.status if isinstance(exc, Refused) else 422
        return await _show(visit, status=status, error=text, typed={**form, "value": value})
    return RedirectResponse(_entry(visit, namespace, key, done="saved"), 303)


def _seconds(text: str) -> int | None:
    """Raises ValueError."""
    try:
        return int(text) if text.strip() else None
    except ValueError:
        raise ValueError("The time to live must be a whole number of seconds") from None


async def _metadata(text: str) -> str | None:
    """JSON as it was typed, which only JSON can be sent as. Raises ValueError."""
    if not text.strip():
        return None
    try:
        await read_json(text)
    except (ValueError, RecursionError):
        raise ValueError("The metadata is not JSON") from None
    return text


@section.post("/delete")
async def delete(visit: Visit, _: Mapping[str, str]) -> Response:
    namespace = visit.query.get("namespace") or DEFAULT
    await visit.api.kv.delete(visit.slug, visit.query.get("key", ""), namespace=namespace)
    return visit.go("kv", namespace=namespace, done="deleted")


def _entry(visit: Visit, namespace: str, key: str, **query: str) -> str:
    asked = urlencode({"namespace": namespace, "key": key, **query}, quote_via=quote)
    return f"{visit.path('kv', 'entry')}?{asked}"
