"""Makes instances: what their processes see of the machine, and what is held while they live."""

from __future__ import annotations

import secrets
from pathlib import Path

from isolet.runtime.cgroups import Cgroups
from isolet.runtime.config import SOCKET_NAME, ConfigBuilder
from isolet.runtime.egress import Egress, Egresses
from isolet.runtime.instance import Instance, Owner
from isolet.runtime.memory import address_space_bytes, cgroup_bytes
from isolet.runtime.pid_files import PidFiles
from isolet.runtime.process import ChildSpec, listen
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.spec import InstanceSpec
from isolet.runtime.storage.port import ProjectStorage, ProjectStorages
from isolet.wire.crowd import Crowd

_EGRESS_INSIDE = "/egress"
_STORAGE_INSIDE = "/storage"
_LOOPBACK_INSIDE = "/loopback"
# Nobody guesses what an instance shows when it calls other functions.
_TOKEN_BYTES = 32


class Launcher:
    """Makes instances: knows the sandbox, the folders and the way out."""

    def __init__(
        self,
        *,
        configs: ConfigBuilder,
        sandbox: Sandbox,
        pid_files: PidFiles,
        sockets: Path,
        egresses: Egresses,
        storages: ProjectStorages,
        loopback_socket: Path | None = None,
        cgroups: Cgroups | None = None,
    ) -> None:
        self._cgroups = cgroups
        self._loopback_socket = loopback_socket
        self._configs = configs
        self._sandbox = sandbox
        self._pid_files = pid_files
        self._sockets = sockets
        sockets.mkdir(exist_ok=True)
        for stale in sockets.iterdir():
            stale.unlink()
        self._egresses = egresses
        self._storages = storages
        self._count = 0
        # Of all instances: many may answer in the same turn.
        self._crowd = Crowd()
        self._by_token: dict[str, Instance] = {}

    def launch(self, spec: InstanceSpec, owner: Owner) -> Instance:
        """Spawn a process for `spec`; it is ready once `Instance.started` returns. Raises PlatformError."""
        self._count += 1
        path = self._sockets / f"{self._count:x}.sock"
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        storage = self._storages.hold(spec.project_id)
        egress = self._egresses.hold(spec.project_id)
        try:
            child = self._child(spec, egress, storage, path, token)
            instance = Instance(spec, child, self._sandbox, self._pid_files, path=path, owner=owner, crowd=self._crowd)
        except BaseException:
            self._let_go(egress, storage)
            raise
        self._by_token[token] = instance
        instance.exited.add_done_callback(lambda _: self._ended(token, egress, storage))
        if self._cgroups is not None:
            instance.cgroup = self._cgroups.make(f"{self._count:x}", cgroup_bytes(spec.limits))
        return instance

    def _child(self, spec: InstanceSpec, egress: Egress, storage: ProjectStorage, path: Path, token: str) -> ChildSpec:
        config = self._configs.instance(
            spec,
            egress=f"{self._sandbox.path(egress.folder, _EGRESS_INSIDE)}/{egress.socket.name}",
            storage=self._sandbox.path(storage.mount, _STORAGE_INSIDE),
            loopback=self._loopback_address(),
            token=token,
        )
        return ChildSpec(
            name=f"function {spec.release}",
            config=config,
            listeners={SOCKET_NAME: listen(path)},
            folders=self._folders(egress.folder, storage.mount),
            memory_max_bytes=address_space_bytes(spec.limits),
        )

    def _loopback_address(self) -> str | None:
        socket = self._loopback_socket
        return f"{self._sandbox.path(socket.parent, _LOOPBACK_INSIDE)}/{socket.name}" if socket is not None else None

    def instance_of(self, token: str) -> Instance | None:
        """The instance that shows this token when it calls other functions."""
        return self._by_token.get(token)

    def _ended(self, token: str, egress: Egress, storage: ProjectStorage) -> None:
        del self._by_token[token]
        self._let_go(egress, storage)

    def _let_go(self, egress: Egress, storage: ProjectStorage) -> None:
        self._egresses.release(egress)
        self._storages.release(storage)

    def _folders(self, egress: Path, storage: Path) -> dict[str, Path]:
        folders = {_EGRESS_INSIDE: egress, _STORAGE_INSIDE: storage}
        if self._loopback_socket is not None:
            folders[_LOOPBACK_INSIDE] = self._loopback_socket.parent
        return folders
