"""A typed client of the native API, for the command line and for scripts."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from isolet.errors import IsoletError

_TIMEOUT_S = 60.0


class ApiError(IsoletError):
    """The server refused; `message` is its own text."""

    code = "api_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The id of the new master key, and how many data keys it wraps."""

    key_id: str
    data_keys: int


class Client:
    """Use it as a context manager. All of it raises ApiError when the server refuses or cannot be reached."""

    def __init__(self, url: str, key: str) -> None:
        try:
            self._http = httpx.Client(
                base_url=url.rstrip("/") + "/isolet/v1", headers={"X-API-Key": key}, timeout=_TIMEOUT_S, trust_env=False
            )
        except httpx.InvalidURL as exc:
            raise ApiError(f"cannot reach {url}: {exc}") from exc
        except UnicodeEncodeError as exc:
            raise ApiError("the key cannot be sent: it holds characters beyond ASCII") from exc

    def rotate_master_key(self, new_key: str | None) -> Rotation:
        """`new_key` is base64 of 32 bytes; None lets the server make one."""
        reply = self._send("POST", "/master-key/rotate", {"new_key": new_key})
        return Rotation(key_id=reply["key_id"], data_keys=reply["data_keys"])

    def _send(self, method: str, path: str, body: Any) -> Any:
        try:
            reply = self._http.request(method, path, json=body)
        except httpx.HTTPError as exc:
            raise ApiError(f"cannot reach {self._http.base_url}: {exc}") from exc
        try:
            body = reply.json()
            if reply.is_success:
                return body
            message = body["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = reply.text[:200]
        raise ApiError(f"the server answered {reply.status_code}: {message}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
