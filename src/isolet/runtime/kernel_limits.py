"""What the kernel itself holds a child process to, as a last line behind what is watched."""

from __future__ import annotations

import contextlib
import os
import resource

from isolet.runtime.usage import data_bytes

# Before it, threads counted by user, all processes of the machine together.
_COUNTS_BY_NAMESPACE = (5, 14)


def apply(
    pid: int,
    *,
    open_files_max: int,
    file_max_bytes: int | None = None,
    file_most_bytes: int | None = None,
    memory_max_bytes: int | None = None,
    threads_max: int | None = None,
) -> None:
    """Limit a process from now on; one that is gone is passed over.

    `file_most_bytes` is how far `let_files_grow` may raise `file_max_bytes` later, if it may.
    `memory_max_bytes` is by how much its private address space may grow. `threads_max` is for a process in a user
    namespace of its own: there alone it counts no others. The kernel does not hold processes of root to it.
    """
    # No more than we may have ourselves: only root could raise that.
    open_files = min(open_files_max, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    limits = {resource.RLIMIT_NOFILE: open_files, resource.RLIMIT_CORE: 0}
    if memory_max_bytes is not None:
        limits[resource.RLIMIT_DATA] = data_bytes(pid) + memory_max_bytes
    if threads_max is not None and kernel_version(os.uname().release) >= _COUNTS_BY_NAMESPACE:
        most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        limits[resource.RLIMIT_NPROC] = threads_max if most == resource.RLIM_INFINITY else min(threads_max, most)
    with contextlib.suppress(ProcessLookupError):
        for name, value in limits.items():
            resource.prlimit(pid, name, (value, value))
        if file_max_bytes is not None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_max_bytes, file_most_bytes or file_max_bytes))


def let_files_grow(pid: int, max_bytes: int) -> None:
    """Raise the limit of a process' files, as far as it may be raised; one that is gone is passed over."""
    with contextlib.suppress(ProcessLookupError):
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (min(max_bytes, most), most))


def kernel_version(release: str) -> tuple[int, ...]:
    """The first two numbers of what `uname -r` prints; (0, 0) for text of another shape."""
    try:
        major, minor = release.split("-", maxsplit=1)[0].split(".")[:2]
        return int(major), int(minor)
    except ValueError:
        return (0, 0)
