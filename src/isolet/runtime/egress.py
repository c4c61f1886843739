"""The one way out: a workerd process that resolves names and refuses addresses that are not allowed."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import resource
from collections.abc import Sequence
from pathlib import Path

from isolet.domain.networks import METADATA
from isolet.errors import PlatformError
from isolet.runtime.config import DENIED_NETWORKS, SOCKET_NAME, ConfigBuilder
from isolet.runtime.process import Child, ChildSpec, PidFiles, listen
from isolet.runtime.reasons import Reasons
from isolet.runtime.sandbox import Sandbox
from isolet.telemetry import get_logger

log = get_logger("egress")

_CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_REASONS_INSIDE = "/reasons"
_BACK_OFF_S = (0.05, 0.2, 1.0, 5.0)


class Egress:
    """Keeps the process running. The listening socket is ours and outlives it, so calls wait through a restart."""

    def __init__(
        self,
        *,
        configs: ConfigBuilder,
        sandbox: Sandbox,
        pid_files: PidFiles,
        socket: Path,
        allowed: Sequence[str],
        start_timeout_s: float,
    ) -> None:
        trust = any(Path(file).is_file() for file in _CA_FILES)
        if not trust:
            log.warning("no CA certificates on this machine: functions cannot fetch https")
        denied = denied_networks(allowed)
        # Beside the folder of the socket, which instances see.
        self._reasons = Reasons(socket.parent.with_name("reasons") / "socket", allowed=allowed, denied=denied)
        self._config = configs.egress(
            allow=["public", *allowed],
            deny=denied,
            reasons=f"{sandbox.path(self._reasons.path.parent, _REASONS_INSIDE)}/{self._reasons.path.name}",
            trust_system_cas=trust,
        )
        self._sandbox = sandbox
        self._pid_files = pid_files
        self._start_timeout_s = start_timeout_s
        socket.parent.mkdir(parents=True, exist_ok=True)
        self.socket = socket
        self._listener = listen(socket)
        self._child: Child | None = None
        self._closing = asyncio.Event()

    async def start(self) -> None:
        """Raises PlatformError when it does not come up."""
        await self._reasons.start()
        child = Child(
            ChildSpec(
                name="egress",
                config=self._config,
                listeners={SOCKET_NAME: self._listener},
                network=True,
                folders={_REASONS_INSIDE: self._reasons.path.parent},
                # It serves all instances, with two descriptors for each connection: as many as this user may have.
                open_files_max=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            ),
            self._sandbox,
            self._pid_files,
        )
        self._child = child
        try:
            listening = await child.started(self._start_timeout_s)
        except TimeoutError:
            listening = False
        if not listening:
            child.kill()
            said = child.complaint.strip()[-500:] or "it ended, or did not listen in time, without a word"
            raise PlatformError(f"cannot start the egress process: {said}")

    async def supervise(self) -> None:
        """Start it again whenever it ends, with back-off."""
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            status = await asyncio.shield(self._running().exited)
            if self._closing.is_set():
                return
            if asyncio.get_running_loop().time() - began > 30:
                failures = 0
            log.error("egress process ended; starting it again", status=status)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)]):
                    await self._closing.wait()
                    return
            failures += 1
            try:
                await self.start()
            except PlatformError as exc:
                log.error("egress process did not start", error=exc.message)

    def _running(self) -> Child:
        if self._child is None:
            raise PlatformError("the egress process was not started")
        return self._child

    async def close(self) -> None:
        self._closing.set()
        if self._child is not None:
            self._child.kill()
            await asyncio.shield(self._child.exited)
        await self._reasons.close()
        self._listener.close()
        self.socket.unlink(missing_ok=True)


def denied_networks(allowed: Sequence[str]) -> list[str]:
    """The ranges refused by default, less those that the operator's networks lie in.

    workerd lets the narrower rule win. Addresses of metadata services stay refused unless named exactly.
    """
    opened = [ipaddress.ip_network(network) for network in allowed]
    denied = map(ipaddress.ip_network, DENIED_NETWORKS)
    ranges = [
        str(network)
        for network in denied
        if not any(network.version == other.version and network.overlaps(other) for other in opened)
    ]
    return ranges + [address for address in METADATA if ipaddress.ip_network(address) not in opened]
