"""The master key: from the operator's variable or from its file, and how it is rotated without a stop.

With a file, the new key is written beside the old one first, then the data keys are wrapped with it, then it takes the
old one's place: a crash in between leaves a key that opens what is stored.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from isolet import keyfile
from isolet.database.connection import Database
from isolet.errors import Conflict, InvalidInput, SecretsFailed, SettingsError
from isolet.functions.vault import MasterKey, Vault
from isolet.settings import Settings
from isolet.telemetry import get_logger

log = get_logger("secrets")

_VARIABLE = "ISOLET_MASTER_KEY"


class MasterKeys:
    """Rotates the master key of a running server. `file` is None when a variable gives the key."""

    def __init__(self, vault: Vault, file: Path | None) -> None:
        self._vault = vault
        self._file = file
        self._lock = asyncio.Lock()

    async def rotate(self, given: str | None) -> tuple[str, int]:
        """The id of the new key, and how many data keys it wraps now.

        Raises InvalidInput for a key that is none, and for no key when a variable gives the one in use: the operator
        must know the new one, to set it before the next start.
        """
        if given is None and self._file is None:
            raise InvalidInput(f"the master key comes from {_VARIABLE}: send the new key, and set it there afterwards")
        text = given or MasterKey.generate()
        try:
            master = MasterKey.parse(text, source="the new master key")
        except SettingsError as exc:
            raise InvalidInput(exc.message) from exc
        # One at a time: a second key beside the first would take its place before the data keys are wrapped with it.
        async with self._lock:
            if self._file is not None:
                keyfile.write(_next(self._file), text)
            try:
                count = await self._vault.rotate(master)
            except (Conflict, SecretsFailed):
                # Nothing was changed, so nothing needs the new key.
                if self._file is not None:
                    _next(self._file).unlink()
                raise
            if self._file is not None:
                _next(self._file).rename(self._file)
        log.info("master key rotated", key_id=master.id, data_keys=count)
        return master.id, count


async def open_vault(settings: Settings, database: Database, folder: Path) -> tuple[Vault, MasterKeys]:
    """Raises SettingsError for a master key that is none, or that does not open what is stored."""
    if settings.master_key is not None:
        given = MasterKey.parse(settings.master_key.reveal(), source=_VARIABLE)
        vault, _ = await Vault.open(database, [given])
        return vault, MasterKeys(vault, None)
    file = folder / "master-key"
    text, _ = keyfile.load_or_create(file, MasterKey.generate)
    masters = [MasterKey.parse(text, source=str(file))]
    if _next(file).exists():
        masters.append(MasterKey.parse(_next(file).read_text(), source=str(_next(file))))
    vault, opened = await Vault.open(database, masters)
    if len(masters) > 1:
        # An earlier rotation was cut off: the key that opens the store is the one.
        if opened is masters[1]:
            _next(file).rename(file)
        else:
            _next(file).unlink()
    return vault, MasterKeys(vault, file)


def _next(file: Path) -> Path:
    return file.with_name(file.name + ".next")
