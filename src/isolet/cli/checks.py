"""What a server needs of a machine, each checked without a change to it."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from isolet import toolchain
from isolet.errors import IsoletError
from isolet.runtime.sandbox import Sandbox

_TIMEOUT_S = 20.0
_CONNECT_TIMEOUT_S = 2.0
_FILES_MIN = 4096
_GIB = 1024**3
_ROOM_MIN_BYTES = _GIB // 4
_ROOM_GOOD_BYTES = 4 * _GIB
_DRIFT_MAX_S = 60.0
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


class Result(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Check(Struct, frozen=True, kw_only=True):
    """`text` says what was found, and what to do when that is not good."""

    name: str
    result: Result
    text: str


Found = tuple[Result, str]


def run(environment: Mapping[str, str], data: Path, port: int) -> list[Check]:
    """All checks, in the order in which a start would need them."""
    checks: dict[str, Callable[[], Found]] = {
        "python": _python,
        "workerd": lambda: _program(_tools(environment).workerd, "--version"),
        "esbuild": lambda: _program(_tools(environment).esbuild, "--version"),
        "user namespaces": lambda: _sandbox(environment),
        "cgroups": _cgroups,
        "open files": _open_files,
        "data directory": lambda: _permissions(data),
        "disk": lambda: _disk(data),
        "port": lambda: _port(port),
        "clock": _clock,
    }
    return [Check(name=name, result=result, text=text) for name, (result, text) in _each(checks)]


def _each(checks: Mapping[str, Callable[[], Found]]) -> Iterator[tuple[str, Found]]:
    for name, check in checks.items():
        try:
            yield name, check()
        except IsoletError as exc:
            yield name, (Result.FAILED, exc.message)
        except (OSError, subprocess.SubprocessError) as exc:
            yield name, (Result.FAILED, str(exc))


def _python() -> Found:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Result.OK, f"{version} at {sys.executable}"


def _tools(environment: Mapping[str, str]) -> toolchain.Toolchain:
    named = {name: Path(path) for name in ("workerd", "esbuild") if (path := environment.get(f"ISOLET_{name.upper()}"))}
    return toolchain.find(**named)


def _program(path: Path, *arguments: str) -> Found:
    done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        return Result.FAILED, f"{path} ends with {done.returncode}: {done.stderr.strip()[:200]}"
    return Result.OK, f"{done.stdout.strip()} at {path}"


def _sandbox(environment: Mapping[str, str]) -> Found:
    if environment.get("ISOLET_SANDBOX") == "off":
        return Result.WARNING, "ISOLET_SANDBOX=off: functions run without a sandbox"
    Sandbox(_tools(environment), enabled=True).check()
    return Result.OK, "bubblewrap makes its namespaces"


def _cgroups() -> Found:
    instead = "memory is measured instead. A systemd unit with Delegate=yes has groups of its own"
    line = next((line for line in _OWN_CGROUP.read_text().splitlines() if line.startswith("0::")), None)
    if line is None:
        return Result.WARNING, f"no cgroups of version 2: {instead}"
    own = _CGROUPS / line.removeprefix("0::").lstrip("/")
    try:
        controllers = (own / "cgroup.controllers").read_text().split()
    except OSError as exc:
        return Result.WARNING, f"cannot read {own}: {exc.strerror}; {instead}"
    if "memory" not in controllers:
        return Result.WARNING, f"{own} has no memory controller: {instead}"
    if not os.access(own / "cgroup.subtree_control", os.W_OK):
        return Result.WARNING, f"{own} belongs to somebody else: {instead}"
    return Result.OK, f"the kernel limits memory in {own}"


def _open_files() -> Found:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _FILES_MIN:
        return (
            Result.WARNING,
            f"a process may open {most} files: raise the limit (ulimit -n, LimitNOFILE) to {_FILES_MIN}",
        )
    return Result.OK, "as many as it needs" if most == resource.RLIM_INFINITY else f"{most}"


def _permissions(data: Path) -> Found:
    there = _nearest(data)
    if not os.access(there, os.W_OK | os.X_OK):
        return Result.FAILED, f"{there} cannot be written by this user: choose another with --data-dir"
    if there != data.absolute():
        return Result.OK, f"{data} will be made"
    status = data.stat()
    if status.st_uid != os.getuid():
        return Result.WARNING, f"{data} belongs to the user {status.st_uid}, not to {os.getuid()}"
    if status.st_mode & 0o077:
        return Result.WARNING, f"others may look into {data}: chmod 700"
    return Result.OK, f"{data.absolute()}"


def _disk(data: Path) -> Found:
    free = shutil.disk_usage(_nearest(data)).free
    text = f"{free / _GIB:.1f} GiB are free for {data}"
    if free < _ROOM_MIN_BYTES:
        return Result.FAILED, text
    return (Result.OK if free >= _ROOM_GOOD_BYTES else Result.WARNING), text


def _nearest(path: Path) -> Path:
    """The path, or the folder above it that is there."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if one.is_dir())


def _port(port: int) -> Found:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                return Result.FAILED, f"cannot listen on {port}: {exc.strerror}. Choose another with --port"
        else:
            return Result.OK, f"{port} is free" if port else "any port"
    if (version := _isolet_at(port)) is not None:
        return Result.OK, f"an Isolet server runs on {port}" + (f", version {version}" if version else "")
    return Result.FAILED, f"another program listens on {port}. Choose another with --port"


def _isolet_at(port: int) -> str | None:
    """The version of the server there; None when none answers like one."""
    import httpx

    try:
        reply = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=_CONNECT_TIMEOUT_S, trust_env=False)
        shown = reply.json()
        return str(shown.get("version", "")) if isinstance(shown, dict) and "status" in shown else None
    except (httpx.HTTPError, ValueError):
        return None


def _clock() -> Found:
    """A clock that stands before this program was installed is wrong."""
    installed = Path(toolchain.__file__).stat().st_mtime
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if time.time() < installed - _DRIFT_MAX_S:
        return Result.FAILED, f"it says {now}, which is before this program was installed: schedules would run wrongly"
    if not Path("/run/systemd/timesync/synchronized").exists() and not _is_synchronized():
        return Result.WARNING, f"it says {now}; nothing seems to keep it right. Schedules and tokens depend on it"
    return Result.OK, now


def _is_synchronized() -> bool:
    """What the kernel was told by a time service."""
    import ctypes

    try:
        # `struct timex` is 208 bytes; with `modes` 0 it is only filled in. The answer 5 is TIME_ERROR.
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return False
    return bool(0 <= state < 5)
