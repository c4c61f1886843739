"""Seals what of a function's settings is nobody's to read in the database; also what an earlier release left in clear.

Where door settings have variables in clear, these count: a server of an earlier release wrote them last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from isolet.database import functions as stored_functions
from isolet.database import private_settings as stored
from isolet.database.connection import Database
from isolet.domain.functions import Function
from isolet.domain.private_settings import part_door_settings, part_triggers
from isolet.domain.triggers import Trigger, check_triggers
from isolet.errors import NotFound
from isolet.functions.vault import Vault
from isolet.ids import FunctionId
from isolet.telemetry import get_logger

log = get_logger("secrets")

_BATCH = 500
# Another server may write a function between the reading and the sealing of it.
_TRIES = 5


async def seal(vault: Vault, function: Function, changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes`, for `domain.functions.changed`, with nothing private in clear.

    Raises InvalidInput for triggers that are none, SecretsFailed when the vault is in trouble.
    """
    values = dict(changes)
    if "triggers" in values and "sealed_triggers" not in values:
        values.update(await _seal_triggers(vault, function, check_triggers(values["triggers"])))
    if isinstance(values.get("door_settings"), Mapping):
        values.update(await _seal_door_settings(vault, function, values["door_settings"]))
    return values


def door_env(vault: Vault, function: Function) -> Mapping[str, str]:
    """The variables among its door settings. Raises PlatformError when they cannot be opened."""
    in_clear: Mapping[str, str] | None = (function.door_settings or {}).get("env")
    if in_clear is not None or function.sealed_env is None:
        return in_clear or {}
    text = vault.open_sealed(function.project_id, function.sealed_env, purpose=_env_purpose(function.id))
    opened: dict[str, str] = json.loads(text)
    return opened


async def seal_stored(database: Database, vault: Vault) -> None:
    """Seal what earlier releases left in clear, then take its remains out of the database's file.

    Each function is sealed in a transaction of its own, and only as it was read, so that what is cut off goes on at the
    next start, and several servers may do it at once.
    """
    after, count = FunctionId(""), 0
    while ids := await database.read(stored.list_in_clear, after, _BATCH):
        for function_id in ids:
            count += await _seal_one(database, vault, function_id)
        after = ids[-1]
    if count:
        log.info("sealed settings of functions that were stored in clear", count=count)
    await database.scrub()


async def _seal_one(database: Database, vault: Vault, function_id: FunctionId) -> bool:
    """Whether there was anything to seal."""
    for _ in range(_TRIES):
        try:
            function = await database.read(stored_functions.get_function, function_id)
        except NotFound:
            return False
        values: dict[str, Any] = {}
        if part_triggers(function.triggers or ())[1]:
            values.update(await _seal_triggers(vault, function, function.triggers or ()))
        if function.door_settings is not None and "env" in function.door_settings:
            values.update(await _seal_door_settings(vault, function, function.door_settings))
        if not values:
            return False
        if await database.write(stored.seal_function, function, values):
            return True
    log.warning("cannot seal settings of a function now: it is changed all the time", function_id=function_id)
    return False


async def _seal_triggers(vault: Vault, function: Function, triggers: Sequence[Trigger]) -> dict[str, Any]:
    parted, secrets = part_triggers(triggers)
    sealed = await _sealed(vault, function, secrets, f"secrets of the triggers of {function.id}")
    return {"triggers": parted, "sealed_triggers": sealed}


async def _seal_door_settings(vault: Vault, function: Function, settings: Mapping[str, Any]) -> dict[str, Any]:
    parted, env = part_door_settings(settings)
    return {"door_settings": parted, "sealed_env": await _sealed(vault, function, env, _env_purpose(function.id))}


async def _sealed(vault: Vault, function: Function, values: Mapping[str, Any], purpose: str) -> bytes | None:
    return await vault.seal(function.project_id, json.dumps(values), purpose=purpose) if values else None


def _env_purpose(function_id: FunctionId) -> str:
    # Part of what is sealed: it stays as the first release wrote it.
    return f"altair environment of {function_id}"
