"""One function behind every door, for what must hold at each of them, asked with bytes of the test's own."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from tests.support.butterbase import Butterbase
from tests.support.projects import Project

DOORS = ("kapso", "butterbase", "test", "altair")


class Reply(Struct, frozen=True):
    """What a connection brought until it was closed: the last reply's parts, and all of it."""

    raw: bytes

    @property
    def status(self) -> int | None:
        return int(self.raw.split(b" ", 2)[1]) if self.raw else None

    @property
    def headers(self) -> Mapping[str, str]:
        lines = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def body(self) -> bytes:
        rest = self.raw.partition(b"\r\n\r\n")[2]
        if self.headers.get("transfer-encoding") != "chunked":
            return rest
        parts = []
        while (line := rest.partition(b"\r\n"))[1] and (size := int(line[0], 16)):
            parts.append(line[2][:size])
            rest = line[2][size + 2 :]
        return b"".join(parts)

    def json(self) -> Any:
        return json.loads(self.body)


class Doors:
    """A function of a project: `head` writes a request for it through a door, `ask` sends one and reads to the end."""

    def __init__(self, project: Project, code: str, name: str = "shown") -> None:
        self.project = project
        self.name = name
        self.address = (urlsplit(project.server.url).hostname, urlsplit(project.server.url).port)
        with project.server.client("") as public:
            self.id = str(Butterbase(project.client, public).deploy(name, code)["id"])

    def path(self, door: str) -> str:
        return {
            "kapso": f"/platform/v1/functions/{self.id}/invoke",
            "butterbase": f"/v1/{self.project.slug}/fn/{self.name}",
            "test": f"/v1/{self.project.slug}/functions/{self.name}/invoke",
            "altair": f"/spaces/{self.project.slug}/functions/{self.name}/invoke",
            "async": f"/spaces/{self.project.slug}/functions/{self.name}/async-invoke",
        }[door]

    def head(
        self, door: str, *lines: bytes, method: bytes = b"POST", host: bytes = b"a.test", target: str = ""
    ) -> bytes:
        key = str(self.project.client.headers["X-API-Key"]).encode()
        start = b"%b %b HTTP/1.1" % (method, (target or self.path(door)).encode())
        return b"\r\n".join([start, b"Host: " + host, b"X-API-Key: " + key, *lines]) + b"\r\n\r\n"

    def ask(self, door: str, *lines: bytes, body: bytes = b"{}", **options: Any) -> Reply:
        """With the body's length told, and the connection closed after it."""
        told = [b"Content-Length: %d" % len(body), b"Connection: close", *lines]
        return self.send(self.head(door, *told, **options) + body)

    def send(self, *pieces: bytes, half_close: bool = False) -> Reply:
        """Until the server closes; it may do so before it took everything."""
        with socket.create_connection(self.address, timeout=30) as connection:
            received = b""
            try:
                for piece in pieces:
                    connection.sendall(piece)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65_536):
                    received += part
            except (ConnectionResetError, BrokenPipeError):
                pass
        return Reply(received)
