"""The statements that a forked server sends to its database, so that a test can count those of a request."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

VARIABLE = "TESTS_STATEMENTS"
_TRANSACTIONS = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA")
# What a server asks by itself meanwhile is in some of these, and not in all. On a busy machine it is in most.
_TRIES_MAX = 12
_ALIKE = 3


class Statements:
    """`Server(…, statements=…)` has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def of(self, ask: Callable[[], object]) -> list[str]:
        """What was asked while `ask` ran, the least of a few times. The first one is left out: it fills caches."""
        ask()
        found: list[list[str]] = []
        while len(found) < _TRIES_MAX:
            found.append(self._during(ask))
            least = min(found, key=len)
            if sum(len(one) == len(least) for one in found) == _ALIKE:
                break
        return least

    def _during(self, ask: Callable[[], object]) -> list[str]:
        with self.path.open() as file:
            file.seek(0, os.SEEK_END)
            ask()
            return file.read().splitlines()


def install(path: str) -> None:
    """In a server: write each statement to the file, a line for each."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(_TRANSACTIONS):
            os.write(descriptor, " ".join(statement.split()).encode() + b"\n")

    event.listen(Engine, "before_cursor_execute", note)
