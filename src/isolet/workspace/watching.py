"""Says which files of a project changed, however many folders they are in.

Folders are watched one by one and not with all below them, because `node_modules` would be most of it; links are
followed by the places that they lead to.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from watchfiles import Change, awatch

from isolet.tasks import Tasks
from isolet.workspace.errors import WorkspaceError

_SKIPPED = {"node_modules", ".git", ".isolet", "__pycache__", ".wrangler", ".venv", ".mypy_cache"}
_TEMPORARY = (".swp", ".swx", ".tmp", "~", ".DS_Store", "4913")
_FOLDERS_MAX = 4_000
# A save is often several events; those within a step count as one.
_STEP_MS = 10
_DEBOUNCE_MS = 400
_FAILURES_MAX = 3


def folders_of(root: Path) -> set[Path]:
    """The project's folders, without those of packages and tools; as many as can be watched."""
    found: set[Path] = set()
    for folder, names, _ in os.walk(root):
        names[:] = [name for name in names if name not in _SKIPPED]
        found.add(Path(folder))
        if len(found) >= _FOLDERS_MAX:
            break
    return found


def is_source(path: Path) -> bool:
    """Whether a change of it may matter."""
    name = path.name
    return name not in _SKIPPED and not name.endswith(_TEMPORARY) and not name.startswith(".#")


class Watch:
    """What changes is kept until it is asked for, so that nothing is lost while a deploy runs."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._folders: frozenset[Path] = frozenset()
        self._stop = asyncio.Event()
        self._changed: set[Path] = set()
        self._news = asyncio.Event()
        self._failures = 0
        self._failure = ""

    def follow(self, folders: Iterable[Path]) -> bool:
        """Watch these folders instead, if they are others.

        True means that changes of a moment ago may have been missed: look at the files again.
        """
        wanted = frozenset(folder for folder in folders if folder.is_dir())
        if wanted == self._folders:
            return False
        more = not wanted <= self._folders
        self._folders = wanted
        self._stop.set()
        self._stop = asyncio.Event()
        self._tasks.spawn(self._run(wanted, self._stop), name="watch")
        return more

    def poke(self, path: Path) -> None:
        """As if it had changed."""
        self._changed.add(path)
        self._news.set()

    async def changed(self) -> set[Path]:
        """Waits for changes; absolute paths. Raises WorkspaceError when folders cannot be watched."""
        await self._news.wait()
        self._news.clear()
        if self._failures >= _FAILURES_MAX:
            raise WorkspaceError(
                f"cannot watch the project's folders: {self._failure}. "
                "The system may allow more with `sysctl fs.inotify.max_user_watches=524288`"
            )
        found, self._changed = self._changed, set()
        return found

    async def _run(self, folders: frozenset[Path], stop: asyncio.Event) -> None:
        # A change of what is not a source must not wake anybody: log files in the folder may grow all the time.
        watching = awatch(
            *folders,
            watch_filter=_matters,
            recursive=False,
            step=_STEP_MS,
            debounce=_DEBOUNCE_MS,
            stop_event=stop,
            rust_timeout=5_000,
        )
        try:
            async for changes in watching:
                self._failures = 0
                self._changed.update(Path(path) for _, path in changes)
                self._news.set()
        except (OSError, RuntimeError) as exc:
            # A folder went away, or there are too many: whoever follows looks at them anew.
            self._failures += 1
            self._failure = str(exc)
            self._folders = frozenset()
            self.poke(min(folders))


def _matters(_: Change, path: str) -> bool:
    return is_source(Path(path))
