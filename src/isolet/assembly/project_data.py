"""KV, SQL and backups of projects, as the native API gives them."""

from __future__ import annotations

from collections.abc import Sequence

from isolet.assembly.core import Core
from isolet.assembly.feature import Feature
from isolet.project_data.backup import Backups
from isolet.project_data.server_copy import DatabaseCopies
from isolet.project_data.soundness import Soundness
from isolet.project_data.stores import Stores

_MB = 1024 * 1024


def open_project_data(core: Core) -> Feature:
    """Puts right what a killed server left of backups and restores."""
    storages, routes, settings = core.runtime.storages, core.registry.routes, core.host.settings
    stores = Stores(database=core.persistence.database, storages=storages, clock=core.host.clock)
    backups = Backups(
        storages,
        Soundness(core.host.sandbox),
        folder=core.host.folder / "projects",
        room=lambda project_id: routes.limits_of(project_id).storage_mb * _MB,
        stores=stores,
    )
    copies = DatabaseCopies(database=core.persistence.database, folder=core.host.folder / "projects")

    def doors() -> Sequence[object]:
        # They load the web framework, and what only it needs.
        from isolet.api.native.project_data import StorageDoor  # noqa: PLC0415
        from isolet.api.native.server_backup import ServerBackupDoor  # noqa: PLC0415
        from isolet.project_data.kv import Kv  # noqa: PLC0415
        from isolet.project_data.sql import Sql  # noqa: PLC0415

        return [
            StorageDoor(stores=stores, kv=Kv(storages), sql=Sql(storages), backups=backups, settings=settings),
            ServerBackupDoor(copies=copies),
        ]

    return Feature(doors=doors)
