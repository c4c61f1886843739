"""Tells who sits at a terminal that a command still works, once that takes longer than a second."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from isolet.cli import shown

_AFTER_S = 1.0
_EVERY_S = 1.0
_ERASE = "\r\x1b[K"


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """A line on standard error, which is erased at the end. Without a terminal there is none."""
    if not sys.stderr.isatty():
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_tell, args=(shown.line(what), ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _tell(what: str, ended: threading.Event) -> None:
    began, delay = time.monotonic(), _AFTER_S
    told = False
    while not ended.wait(delay):
        sys.stderr.write(f"{_ERASE}{what} … {time.monotonic() - began:.0f} s")
        sys.stderr.flush()
        told, delay = True, _EVERY_S
    if told:
        sys.stderr.write(_ERASE)
        sys.stderr.flush()
