"""`isolet invoke`: a call of a function, from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from isolet.cli import calls
from isolet.cli.commands import Commands, Function
from isolet.cli.failures import Usage
from isolet.cli.session import Session

app = Commands()


@app.of_server()
def invoke(
    session: Session,
    name: Function,
    data: Annotated[
        str | None, typer.Option("--data", "-d", metavar="JSON|@FILE|-", help="The body; - is standard input.")
    ] = None,
    method: Annotated[str | None, typer.Option("--method", "-X", help="POST with a body, else GET.")] = None,
    path: Annotated[str, typer.Option(help="Path and query that the function sees.")] = "/",
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME:VALUE", help="A header of the request.")
    ] = None,
    is_async: Annotated[bool, typer.Option("--async", help="Queue the call, and print its id.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="With --async: wait for the result.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the body to this file.")] = None,
) -> None:
    """Call a function, and print the body of its reply.

    \b
    isolet invoke hello
    isolet invoke hello -d '{"name": "Ada"}'
    isolet invoke upload -d @photo.png -H 'Content-Type: image/png' --path '/albums?id=7'
    isolet invoke report --async --wait
    """
    if wait and not is_async:
        raise Usage("--wait goes with --async")
    if method is not None and not (method.isascii() and method.isalpha()):
        raise Usage(f"{method!r} is not a method of HTTP")
    body = None if data is None else _body(data)
    request = calls.Request(
        method=(method or ("GET" if body is None and not is_async else "POST")).upper(),
        path=_path(path),
        headers=_headers(header or [], body),
        body=body,
    )
    if is_async:
        calls.send_async(session, name, request, wait=wait, output=output)
    else:
        calls.send(session, name, request, output=output)


def _body(data: str) -> bytes:
    try:
        if data == "-":
            return sys.stdin.buffer.read()
        return Path(data[1:]).read_bytes() if data.startswith("@") else data.encode(errors="surrogateescape")
    except (OSError, ValueError) as exc:
        raise Usage(f"cannot read {data[1:]}: {getattr(exc, 'strerror', None) or exc}") from exc


def _path(path: str) -> str:
    """With what a path cannot hold escaped; what is escaped already stays."""
    return quote(path if path.startswith("/") else "/" + path, safe="/?&=%:@!$'()*+,;~", errors="surrogatepass")


def _headers(given: list[str], body: bytes | None) -> list[tuple[bytes, bytes]]:
    headers = []
    for text in given:
        name, colon, value = text.partition(":")
        if not (colon and name.strip().isascii() and name.strip().isprintable()):
            raise Usage(f"--header is NAME:VALUE, not {text!r}")
        if any(char in value for char in "\r\n\0"):
            raise Usage(f"the value of the header {name} holds a line break or NUL")
        headers.append((name.strip().encode(), value.strip().encode(errors="surrogateescape")))
    if body is not None and b"content-type" not in {name.lower() for name, _ in headers}:
        headers.append((b"content-type", _type(body)))
    return headers


def _type(body: bytes) -> bytes:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        try:
            body.decode()
        except UnicodeDecodeError:
            return b"application/octet-stream"
        return b"text/plain; charset=utf-8"
    return b"application/json"
