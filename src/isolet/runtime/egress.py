"""A project's way out: a workerd process that resolves names and refuses addresses that are not allowed.

Each project in use has its own, started by its first connection (`supervised.py`), so that no two share connections,
look-ups of names, or sessions of TLS. What the host itself sends for a project, callbacks and questions for keys,
leaves by the same process, through a socket of the host's own that counts towards no limit.
"""

from __future__ import annotations

import asyncio
import ipaddress
import resource
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from socket import socket

from isolet.domain.changes import Change, ProjectChanged
from isolet.domain.networks import METADATA, Network, is_below
from isolet.errors import PlatformError
from isolet.ids import ProjectId
from isolet.runtime.addresses import Addresses
from isolet.runtime.answers import Answers
from isolet.runtime.config import DENIED_NETWORKS, GATE_SOCKET, HOST_SOCKET, SOCKET_NAME, ConfigBuilder
from isolet.runtime.in_use import InUse
from isolet.runtime.pid_files import PidFiles
from isolet.runtime.process import Child, ChildSpec, listen
from isolet.runtime.reasons import Reasons
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.supervised import SupervisedChild
from isolet.runtime.usage import anonymous_bytes
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.wire.channel import Channel

log = get_logger("egress")

_CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_INSIDE = "/inside"
# What a connection of a function takes there: a `fetch` eight, counted; and what the process has besides.
_OPEN_FILES_EACH = 8
_OPEN_FILES_BASE = 512
_MEMORY_MAX_BYTES = 1024**3
# The kernel's own limit counts address space: 512 threads look names up, with some MiB of stack each.
_ADDRESS_SPACE_BYTES = 6 * 1024**3
# More than those that look names up: with small stacks there would be room for many.
_THREADS_MAX = 1_024
_WATCH_EVERY_S = 1.0


class Egress:
    """One project's process. Functions see `folder`, with the one socket in it; `channel` is the host's own way."""

    def __init__(self, owner: Egresses, project_id: ProjectId) -> None:
        self._owner = owner
        self.project_id = project_id
        self._allowed: tuple[str, ...] = ()
        name = project_id.replace("-", "")[:20]
        self.folder = owner.sockets / name
        self.inside = owner.inside / name
        for folder in (self.folder, self.inside):
            folder.mkdir(exist_ok=True)
        self.socket = self.folder / "socket"
        self.channel = Channel(str(self.inside / SOCKET_NAME))
        reasons = Reasons(
            allowed=lambda: owner.allowed(project_id),
            denied=lambda: owner.denied(project_id),
            limit=lambda: owner.connections_max(project_id),
        )
        self._answers = Answers(self.inside / HOST_SOCKET, reasons.answer)
        listeners = {GATE_SOCKET: listen(self.socket), SOCKET_NAME: listen(self.inside / SOCKET_NAME)}
        self._process = SupervisedChild("egress", project_id, listeners, self._start, self._guard, tasks=owner.tasks)

    @property
    def pid(self) -> int | None:
        """The pid of the running process."""
        return self._process.pid

    def restart(self) -> None:
        """End the process, which starts anew with the rules of that time."""
        child = self._process.child
        if child is not None:
            child.kill()

    def check_rules(self) -> None:
        """Restart a process whose rules are not those of its project any more."""
        if tuple(self._owner.allowed(self.project_id)) != self._allowed:
            self.restart()

    async def _start(self, listeners: Mapping[str, socket]) -> Child:
        await self._answers.start()
        self._process.check_wanted()
        self._allowed = tuple(self._owner.allowed(self.project_id))
        connections_max = self._owner.connections_max(self.project_id)
        return self._owner.spawn(listeners, self.inside, connections_max=connections_max, allowed=self._allowed)

    async def _guard(self, child: Child) -> None:
        """End a process that grows too large; the next connection starts another."""
        while not child.exited.done():
            await asyncio.wait({child.exited}, timeout=_WATCH_EVERY_S)
            if anonymous_bytes(child.pid) > _MEMORY_MAX_BYTES:
                log.error("egress process killed", project=self.project_id, reason="over its memory")
                child.kill()

    def detach(self) -> None:
        """Give the sockets up at once, so that the next use of the project makes new ones."""
        self._process.close()
        self.channel.close()
        self._answers.detach()
        for folder in (self.folder, self.inside):
            shutil.rmtree(folder, ignore_errors=True)

    async def close(self) -> None:
        if not self._process.is_closed:
            self.detach()
        await self._process.kill()


class Egresses:
    """Every project's way out that is in use.

    `limit_of` gives how many connections its functions may have open, `allowed_of` the networks opened to them.
    """

    def __init__(
        self,
        *,
        configs: ConfigBuilder,
        sandbox: Sandbox,
        pid_files: PidFiles,
        folder: Path,
        allowed_of: Callable[[ProjectId], Sequence[str]],
        addresses: Addresses,
        limit_of: Callable[[ProjectId], int],
        idle_timeout_s: float,
        start_timeout_s: float,
    ) -> None:
        self._trust = any(Path(file).is_file() for file in _CA_FILES)
        if not self._trust:
            log.warning("no CA certificates on this machine: functions cannot fetch https")
        self.allowed = allowed_of
        self._addresses = addresses
        addresses.on_change(self._restart)
        self._configs = configs
        self._sandbox = sandbox
        self._pid_files = pid_files
        self._limit_of = limit_of
        self._start_timeout_s = start_timeout_s
        self.sockets = folder / "egress"
        self.inside = folder / "inside"
        for made in (self.sockets, self.inside):
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True)
        self.tasks = Tasks()
        self._in_use = InUse(
            "egress", lambda project_id: Egress(self, project_id), idle_timeout_s=idle_timeout_s, tasks=self.tasks
        )

    async def check(self) -> None:
        """Start a process as projects get them, and end it. Raises PlatformError when it does not come up."""
        folder = self.inside / "check"
        folder.mkdir()
        listeners = {name: listen(folder / name) for name in (GATE_SOCKET, SOCKET_NAME)}
        child = self.spawn(listeners, folder, connections_max=1, allowed=())
        try:
            listening = await child.started(self._start_timeout_s)
        except TimeoutError:
            listening = False
        finally:
            child.kill()
            await asyncio.shield(child.exited)
            for listener in listeners.values():
                listener.close()
            shutil.rmtree(folder)
        if not listening:
            said = child.stderr_tail.strip()[-500:] or "it ended, or did not listen in time, without a word"
            raise PlatformError(f"cannot start the egress process: {said}")

    def hold(self, project_id: ProjectId) -> Egress:
        """A project's way out, kept working until `release`. Raises NotFound for a project that was deleted."""
        return self._in_use.hold(project_id)

    def release(self, egress: Egress) -> None:
        self._in_use.release(egress)

    def use(self, project_id: ProjectId) -> AbstractAsyncContextManager[Egress]:
        """A project's way out, for a request of the host's own."""
        return self._in_use.use(project_id)

    async def delete(self, project_id: ProjectId) -> None:
        """The project is gone, and what it has open ends."""
        egress = self._in_use.delete(project_id)
        if egress is not None:
            await egress.close()

    async def close(self) -> None:
        await self._in_use.close()
        await self.tasks.close()

    def connections_max(self, project_id: ProjectId) -> int:
        """How many connections a project's functions may have open: its limit, or fewer where descriptors are short."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        return max(1, min(self._limit_of(project_id), (hard - _OPEN_FILES_BASE) // _OPEN_FILES_EACH))

    def denied(self, project_id: ProjectId) -> list[str]:
        """The ranges that are refused now."""
        return denied_networks(self.allowed(project_id), own=self._addresses.current)

    def follow(self, change: Change) -> None:
        """A listener. Where a project may reach less or more now, its connections end; the next ones obey that."""
        if isinstance(change, ProjectChanged):
            for egress in self._in_use.services:
                if egress.project_id == change.project.id:
                    egress.check_rules()

    def spawn(
        self, listeners: Mapping[str, socket], inside: Path, *, connections_max: int, allowed: Sequence[str]
    ) -> Child:
        """Start a process. Raises PlatformError."""
        config = self._configs.egress(
            allow=["public", *allowed],
            deny=denied_networks(allowed, own=self._addresses.current),
            inside=self._sandbox.path(inside, _INSIDE),
            connections_max=connections_max,
            trust_system_cas=self._trust,
        )
        spec = ChildSpec(
            name="egress",
            config=config,
            listeners=listeners,
            network=True,
            folders={_INSIDE: inside},
            # A limit that is raised while it runs needs them, too: as many as this user may have.
            open_files_max=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            memory_max_bytes=_ADDRESS_SPACE_BYTES,
            threads_max=_THREADS_MAX,
        )
        return Child(spec, self._sandbox, self._pid_files)

    def _restart(self) -> None:
        for egress in self._in_use.services:
            egress.restart()


def denied_networks(allowed: Sequence[str], *, own: Collection[Network] = ()) -> list[str]:
    """The ranges refused by default and the machine's own, less those that lie in the operator's networks.

    workerd lets the narrower rule win, so a network of the operator's opens no more than itself. Addresses of metadata
    services stay refused unless named exactly.
    """
    opened = [ipaddress.ip_network(network) for network in allowed]
    denied = [*map(ipaddress.ip_network, DENIED_NETWORKS), *sorted(own, key=str)]
    ranges = [str(network) for network in denied if not any(is_below(network, other) for other in opened)]
    return ranges + [address for address in METADATA if ipaddress.ip_network(address) not in opened]
