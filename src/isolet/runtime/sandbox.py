"""The command that starts workerd: under bubblewrap, or bare where the operator said so."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from msgspec import Struct

from isolet.errors import SettingsError
from isolet.runtime import elf
from isolet.toolchain import Toolchain

_LIBRARY = re.compile(r"(/\S+) \(0x")
_NETWORK_FILES = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
)


# fmt: off
_ISOLATION = (
    "--unshare-all", "--unshare-user", "--disable-userns", "--as-pid-1", "--die-with-parent",
    "--clearenv", "--cap-drop", "ALL", "--uid", "65534", "--gid", "65534", "--hostname", "isolet",
    "--chdir", "/", "--proc", "/proc", "--dev", "/dev",
)
# Last, over everything that is mounted: kernel settings in /proc are open to root's own user, and memory in /dev/shm
# would count as nobody's.
_READ_ONLY = ("--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/")
# fmt: on


class Command(Struct, frozen=True, kw_only=True):
    """`arguments` starts a program; `info_fd`, when given, is where bubblewrap reports the program's own pid."""

    arguments: tuple[str, ...]
    sandboxed: bool


class Sandbox:
    """Builds commands. An instance sees its program, the libraries that needs, and the folders bound for it."""

    def __init__(self, toolchain: Toolchain, *, enabled: bool) -> None:
        self.enabled = enabled
        self._toolchain = toolchain
        self._libraries = _libraries(toolchain.workerd)

    def check(self) -> None:
        """Raises SettingsError when this machine does not let bubblewrap make its namespaces."""
        if not self.enabled:
            return
        bwrap = str(self._toolchain.bubblewrap)
        probe = subprocess.run(
            [*self._isolate(bwrap, network=False), "--", "/workerd", "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        if probe.returncode != 0:
            raise SettingsError(
                f"cannot make a sandbox: {probe.stderr.strip() or 'bubblewrap failed'}. Allow user namespaces on this "
                "machine, or start with --sandbox=off to run functions without one"
            )

    def path(self, host: Path, inside: str) -> str:
        """Where a bound folder is seen by the program."""
        return inside if self.enabled else str(host)

    def command(
        self,
        *,
        network: bool,
        folders: Mapping[str, Path],
        writable: Mapping[str, Path],
        info_fd: int,
        seccomp_fd: int,
        arguments: Sequence[str],
    ) -> Command:
        """Starts workerd with `arguments`; `folders` and `writable` map a path inside to a host folder."""
        if not self.enabled:
            return Command(arguments=(str(self._toolchain.workerd), *arguments), sandboxed=False)
        wrapped = self._isolate(str(self._toolchain.bubblewrap), network=network)
        for inside, host in folders.items():
            wrapped += ["--ro-bind", str(host), inside]
        for inside, host in writable.items():
            wrapped += ["--bind", str(host), inside]
        wrapped += [
            "--seccomp",
            str(seccomp_fd),
            *_READ_ONLY,
            "--info-fd",
            str(info_fd),
            "--",
            "/workerd",
            *arguments,
        ]
        return Command(arguments=tuple(wrapped), sandboxed=True)

    def tool(
        self, program: Path, arguments: Sequence[str], *, reads: Sequence[Path] = (), writable: Sequence[Path] = ()
    ) -> list[str]:
        """A command that runs another program, which ends by itself, with no network and no more than these folders.

        Paths inside are those outside.
        """
        if not self.enabled:
            return [str(program), *arguments]
        command = [str(self._toolchain.bubblewrap), *_ISOLATION]
        for path in dict.fromkeys([*_libraries_of(program), *map(str, reads), str(program)]):
            command += ["--ro-bind", path, path]
        for folder in writable:
            command += ["--bind", str(folder), str(folder)]
        return [*command, *_READ_ONLY, "--", str(program), *arguments]

    def _isolate(self, bwrap: str, *, network: bool) -> list[str]:
        """Empty namespaces of every kind, no capabilities, no way to more of either, another user and host name."""
        arguments = [bwrap, *_ISOLATION, "--ro-bind", str(self._toolchain.workerd), "/workerd"]
        for library in self._libraries:
            arguments += ["--ro-bind", library, library]
        if network:
            arguments += ["--share-net"]
            for path in _NETWORK_FILES:
                arguments += ["--ro-bind-try", path, path]
        return arguments


@cache
def _libraries_of(program: Path) -> tuple[str, ...]:
    return tuple(_libraries(program))


def _libraries(program: Path) -> list[str]:
    """The shared libraries that a program's loader names. `ldd` asks the same, but is not on every machine."""
    try:
        loader = elf.loader_of(program)
    except OSError:
        # Whoever starts it is told.
        loader = None
    if loader is None:
        return []
    listed = subprocess.run([loader, "--list", str(program)], capture_output=True, text=True, timeout=10, check=False)
    return sorted(set(_LIBRARY.findall(listed.stdout)))
