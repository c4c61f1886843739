"""What the server asks of the storage of projects, wherever it keeps what they store.

Names of files, and folders that are not for temporary files, are matters of an implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Protocol

from isolet.domain.changes import Change
from isolet.domain.stores import StoreKind
from isolet.ids import ProjectId
from isolet.wire.channel import Channel

# The folders of a copy of all that a project stored: SQLite databases, and the values of keys.
PARTS = ("objects", "blobs")

# Both block, so they are for a thread. `Copy` writes `PARTS` into a folder that it makes; `Replace` takes them from a
# folder that `ProjectStorages.staging` gave. Both raise OSError for a disk in trouble, PlatformError for strange files.
Copy = Callable[[Path], None]
Replace = Callable[[Path], None]


class ProjectStorage(Protocol):
    """One project's stores, while they are held. `mount` is the folder that its instances see, with the sockets."""

    @property
    def project_id(self) -> ProjectId: ...

    @property
    def mount(self) -> Path: ...

    def way_to(self, kind: StoreKind) -> Channel:
        """Where the stores of a kind answer. Each request names one in `STORE_HEADER`, else it is for `default`."""
        ...

    async def drop(self, kind: StoreKind, name: str) -> None:
        """Delete a store, with all in it; calls wait meanwhile, those under way fail. Raises like `paused`."""
        ...

    def long_work(self) -> AbstractContextManager[None]:
        """Statements of the host's own may take longer meanwhile than those of functions."""
        ...

    def paused(self) -> AbstractAsyncContextManager[Copy]:
        """Nothing is written meanwhile, and calls wait; one at a time. Raises Unavailable when it was closed."""
        ...

    def stopped(self) -> AbstractAsyncContextManager[Replace]:
        """Nothing is in use meanwhile: calls wait, and those under way fail. Raises like `paused`."""
        ...


class ProjectStorages(Protocol):
    """The storage of every project."""

    def hold(self, project_id: ProjectId) -> ProjectStorage:
        """A project's storage, kept working until `release`. Raises NotFound for a project that was deleted."""
        ...

    def release(self, storage: ProjectStorage) -> None: ...

    def use(self, project_id: ProjectId) -> AbstractAsyncContextManager[ProjectStorage]:
        """A project's storage, for a request of the host's own. Raises like `hold`."""
        ...

    async def store_sizes(self, project_id: ProjectId, stores: Sequence[tuple[StoreKind, str]]) -> Sequence[int]:
        """How many bytes the database of each store of a project takes; 0 for one that was not used yet."""
        ...

    async def sizes(self, project_ids: Sequence[ProjectId]) -> Sequence[int]:
        """How many bytes each project stores now; 0 for one that stores nothing."""
        ...

    def staging(self, project_id: ProjectId) -> AbstractContextManager[Path]:
        """A folder, to be made by the caller, from which `Replace` takes. It goes with the context.

        Raises OSError when there is no room for it.
        """
        ...

    def follow(self, change: Change) -> None:
        """A listener: a project's limits hold as they are now."""
        ...

    async def delete(self, project_id: ProjectId) -> None:
        """Everything the project stored, for good: what still arrives for it makes nothing anew."""
        ...

    async def close(self) -> None: ...
