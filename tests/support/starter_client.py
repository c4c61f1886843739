"""Asks a starter for a command. As a program it is that command: `python -IS starter_client.py ADDRESS ARGUMENT…`.

It imports only what is in Python's own program, so that it takes 10 ms where the command takes 300.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import marshal
import os
import sys
from collections.abc import Mapping, Sequence

# The starter may still have to load the program.
_START_S = 120.0
_HEARD = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)


class Asked:
    """A command that runs. It is killed when this process ends, or when the connection is closed."""

    def __init__(
        self,
        address: str,
        arguments: Sequence[str],
        environment: Mapping[bytes, bytes],
        *,
        descriptors: Sequence[int],
        umask: int | None = None,
        ignored: Sequence[int] = (),
    ) -> None:
        """`descriptors` become its standard ones; `ignored` are the signals that it ignores."""
        self.connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self.connection.settimeout(_START_S)
        self.connection.connect(address)
        asked = (list(arguments), dict(environment), os.getcwd(), umask, list(ignored))
        rights = b"".join(descriptor.to_bytes(4, sys.byteorder) for descriptor in descriptors)
        self.connection.sendmsg([marshal.dumps(asked)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        self.pid = self._told()
        self.connection.settimeout(None)

    def status(self) -> int:
        """As `Popen.returncode` has it. It waits as long as the connection does, and is told once."""
        return self._told()

    def _told(self) -> int:
        if not (text := self.connection.recv(64)):
            raise EOFError("the starter has ended")
        return int(text)


def main() -> None:
    address, *arguments = sys.argv[1:]
    ignored = [number for number in _HEARD if _signal.getsignal(number) == _signal.SIG_IGN]
    heard = [number for number in _HEARD if number not in ignored]
    for number in heard:
        _signal.signal(number, _signal.SIG_DFL)
    umask = os.umask(0)
    command = Asked(address, arguments, os.environb, descriptors=(0, 1, 2), umask=umask, ignored=ignored)

    def forward(number: int, _: object) -> None:
        try:  # noqa: SIM105 - contextlib takes as long as all else
            os.kill(command.pid, number)
        except ProcessLookupError:
            pass

    for number in heard:
        _signal.signal(number, forward)
    status = command.status()
    if status < 0:
        if -status in heard:
            _signal.signal(-status, _signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main()
