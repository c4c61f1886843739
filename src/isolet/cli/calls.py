"""Calls of functions over HTTP, and how their replies are printed."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import typer
from msgspec import Struct

from isolet.cli.failures import ExitCode, Usage
from isolet.cli.output import binary, note
from isolet.cli.progress import waiting
from isolet.cli.session import PATIENCE_S, Session
from isolet.client import errors
from isolet.client.connection import options, reaching
from isolet.errors import SettingsError

if TYPE_CHECKING:
    from isolet.contract.invocations import ResultReply

_CONNECT_TIMEOUT_S = 30.0
_POLL_S = 0.25
_ENDED = ("succeeded", "failed", "cancelled")
_REFUSED: dict[int, type[errors.Refused]] = {
    400: errors.InvalidInput,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.NotDeployed,
}


class Request(Struct, frozen=True, kw_only=True):
    """`path` begins with a slash and is escaped."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes | None


def send(session: Session, name: str, request: Request, *, output: Path | None) -> None:
    """Print the reply. Raises typer's Exit when the call failed, ApiError when there was none."""
    target = f"/f/{_segment(session.project)}/{_segment(name)}{request.path}"
    with _http(session) as http, _exchange(http, request, target) as reply:
        call = reply.headers.get("x-invocation-id")
        if call is None and not reply.is_success:
            _explain(session, name, reply.status_code)
            raise errors.error_of(reply.status_code, reply.headers, reply.read())
        failed = f"failed with {reply.status_code}" if reply.status_code >= 500 else None
        try:
            _print(session, reply.status_code, reply.headers.multi_items(), reply.iter_bytes(), call, output)
        except httpx.RemoteProtocolError:
            failed = "broke off"
    if failed is not None:
        note(f"The call {failed}. isolet invocations get {call} says more.")
        raise typer.Exit(ExitCode.FAILED)


def send_async(session: Session, name: str, request: Request, *, wait: bool, output: Path | None) -> None:
    """Print the id of the call, or with `wait` its result. Raises as `send`."""
    target = f"/spaces/{_segment(session.project)}/functions/{_segment(name)}/async-invoke{request.path}"
    with _http(session) as http, _exchange(http, request, target) as reply:
        content = reply.read()
        if reply.status_code != httpx.codes.ACCEPTED:
            raise _refused(reply.status_code, content)
        call = reply.headers["x-invocation-id"]
    if not wait:
        session.output.done({"invocation_id": call}, call)
        return
    with waiting("Waiting for the result"):
        state = session.client.invocations.get(call)
        while state.status not in _ENDED:
            time.sleep(_POLL_S)
            state = session.client.invocations.get(call)
    if state.result is not None:
        result = state.result
        headers = [(name, value) for name, value in result.headers]
        _print(session, result.status, headers, [_decoded(result)], call, output)
    if state.status != "succeeded":
        note(f"The call {state.status}: {state.error or 'without a text'}. isolet invocations get {call} says more.")
        raise typer.Exit(ExitCode.FAILED)


def _explain(session: Session, name: str, status: int) -> None:
    """Raises a Usage that says why a function which is there is not found."""
    with contextlib.suppress(errors.ApiError):
        if status == httpx.codes.NOT_FOUND and session.function(name).access == "none":
            raise Usage(f"{name} has no address of its own (access: none): isolet invoke --async calls it")


@contextlib.contextmanager
def _http(session: Session) -> Iterator[httpx.Client]:
    url, key = session.target.url, session.target.key
    timeout = httpx.Timeout(PATIENCE_S, connect=_CONNECT_TIMEOUT_S)
    with reaching(url), httpx.Client(**{**options(url, key, PATIENCE_S), "timeout": timeout}) as http:
        yield http


@contextlib.contextmanager
def _exchange(http: httpx.Client, request: Request, target: str) -> Iterator[httpx.Response]:
    """The reply from its head on."""
    try:
        sent = http.build_request(request.method, target, headers=list(request.headers), content=request.body)
        with waiting("Waiting for the function"):
            reply = http.send(sent, stream=True)
    except ValueError as exc:
        raise errors.ApiError(f"the request cannot be sent: {exc}") from exc
    try:
        yield reply
    finally:
        reply.close()


def _print(
    session: Session,
    status: int,
    headers: list[tuple[str, str]],
    content: Iterable[bytes],
    call: str | None,
    output: Path | None,
) -> None:
    with _file(output) as file:
        if file is not None or not session.output.as_json:
            binary(content, file)
        if session.output.as_json:
            body = {} if file is not None else body_of(b"".join(content))
            session.output.value({"status": status, "headers": _object(headers), **body, "invocation_id": call})


@contextlib.contextmanager
def _file(path: Path | None) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("wb")
    except OSError as exc:
        raise SettingsError(f"cannot write {path}: {exc.strerror}") from exc
    with file:
        yield file


def body_of(content: bytes, name: str = "body") -> dict[str, Any]:
    """`encoding` is there only when the body is not text."""
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {name: base64.b64encode(content).decode(), "encoding": "base64"}


def _object(headers: list[tuple[str, str]]) -> dict[str, str | list[str]]:
    """A header that comes several times has a list."""
    shown: dict[str, str | list[str]] = {}
    for name, value in headers:
        earlier = shown.get(name.lower())
        if earlier is None:
            shown[name.lower()] = value
        else:
            shown[name.lower()] = [*(earlier if isinstance(earlier, list) else [earlier]), value]
    return shown


def _decoded(result: ResultReply) -> bytes:
    return base64.b64decode(result.body) if result.encoding == "base64" else result.body.encode(errors="surrogatepass")


def _refused(status: int, content: bytes) -> errors.ApiError:
    """An error of the route that takes asynchronous calls, which has a shape of its own."""
    try:
        text = httpx.Response(status, content=content).json()["error"]["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return errors.unexpected(status, content)
    kind = _REFUSED.get(status, errors.ServerFailed if status >= 500 else errors.Refused)
    return kind(status, "refused", str(text))


def _segment(text: str) -> str:
    encoded = quote(text, safe="", errors="surrogatepass")
    return encoded.replace(".", "%2E") if encoded in (".", "..") else encoded
