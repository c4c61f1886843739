"""Where the server keeps its own data: the database, and the vault that encrypts secrets in it."""

from __future__ import annotations

from msgspec import Struct

from isolet.assembly.host import Host
from isolet.database.backups import UpgradeBackups
from isolet.database.connection import Database
from isolet.database.engine import sqlite_url
from isolet.functions.master_keys import MasterKeys, open_vault
from isolet.functions.private_settings import seal_stored
from isolet.functions.vault import Vault


class Persistence(Struct, frozen=True, kw_only=True):
    database: Database
    vault: Vault
    master_keys: MasterKeys


async def open_persistence(host: Host) -> Persistence:
    """Raises StoreError for a database that cannot be opened, SettingsError for a master key that is not the one."""
    url = host.settings.database_url
    wanted = host.settings.upgrade_backup == "on"
    backups = UpgradeBackups(folder=host.folder / "backups", clock=host.clock) if wanted else None
    database = Database(url.reveal() if url else sqlite_url(host.folder / "isolet.db"), backups=backups)
    host.stack.push_async_callback(database.close)
    await database.open()
    vault, master_keys = await open_vault(host.settings, database, host.folder)
    await seal_stored(database, vault)
    return Persistence(database=database, vault=vault, master_keys=master_keys)
