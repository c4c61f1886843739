"""Looks into SQLite files that nobody vouches for, in a process of its own that sees those files and nothing else."""

from __future__ import annotations

import asyncio
import json
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from isolet.errors import InvalidInput, PlatformError, Unavailable
from isolet.limited import limited, run_tool
from isolet.runtime.sandbox import Sandbox

_MEMORY_BYTES = 512 * 1024 * 1024
_TIMEOUT_S = 600.0
_SAID_MAX_CHARS = 200
_CHECK, _SETTLE = "check", "settle"
# Written here, so that the process needs no file of ours. What the files say is cut before it comes out.
_PROGRAM = """
import json, sqlite3, sys, urllib.parse
settle = sys.argv[1] == "settle"
for place, path in enumerate(json.load(sys.stdin)):
    query = "" if settle else "?mode=ro&immutable=1"
    try:
        connection = sqlite3.connect("file:" + urllib.parse.quote(path) + query, uri=True)
        connection.execute("PRAGMA trusted_schema=OFF")
        if settle:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode=DELETE")
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        connection.close()
    except (sqlite3.Error, MemoryError, UnicodeError) as exc:
        said = str(exc) or type(exc).__name__
        full = isinstance(exc, sqlite3.OperationalError) and "full" in said
    else:
        full = False
    if said != "ok":
        print(json.dumps({"place": place, "said": ascii(said)[:200], "full": full}))
        break
else:
    print("{}")
"""


class Soundness:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def check(self, folder: Path) -> None:
        """Raises InvalidInput when a database below the folder is not sound."""
        trouble = await self._look(_CHECK, folder)
        if trouble is not None:
            name, said = trouble
            raise InvalidInput(f"{name} is damaged: {said}")

    async def settle(self, folder: Path) -> None:
        """Fold the write-ahead logs in. Raises PlatformError for a database that is not sound."""
        trouble = await self._look(_SETTLE, folder)
        if trouble is not None:
            name, said = trouble
            raise PlatformError(f"cannot back up {name}: {said}")

    async def _look(self, what: str, folder: Path) -> tuple[str, str] | None:
        """The first file that is not sound, and what SQLite says of it."""
        files = await asyncio.to_thread(lambda: sorted(folder.rglob("*.sqlite")))
        if not files:
            return None
        command = self._sandbox.tool(
            _python(),
            ["-I", "-S", "-c", _PROGRAM, what],
            reads=_python_folders() if what == _SETTLE else [*_python_folders(), folder],
            writable=[folder] if what == _SETTLE else [],
        )
        answer = await run_tool(
            limited(command, memory_bytes=_MEMORY_BYTES, cpu_s=round(_TIMEOUT_S)),
            json.dumps([str(file) for file in files]).encode(),
            timeout_s=_TIMEOUT_S,
        )
        return _read(answer.stdout, files)


def _read(answer: bytes, files: Sequence[Path]) -> tuple[str, str] | None:
    """The process may have been taken over by what it read, so nothing it says is believed but yes and no."""
    try:
        told: Any = json.loads(answer)
    except ValueError:
        return files[0].name, "it cannot be read"
    if told == {}:
        return None
    if told.get("full") is True:
        raise Unavailable("cannot look at the stores: the disk is full")
    place = told.get("place")
    name = files[place].name if isinstance(place, int) and 0 <= place < len(files) else files[0].name
    return name, str(told.get("said"))[:_SAID_MAX_CHARS]


@cache
def _python() -> Path:
    return Path(sys.executable).resolve()


@cache
def _python_folders() -> tuple[Path, ...]:
    """What an interpreter loads: the standard library, and the libraries of the system."""
    folders = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    libraries = [Path(sys.base_prefix).resolve() / "lib", *map(Path, ("/usr/lib", "/lib", "/lib64"))]
    return tuple(path for path in dict.fromkeys([*folders, *libraries]) if path.exists())
