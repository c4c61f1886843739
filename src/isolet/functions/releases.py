"""What an instance of a function runs: the release, put together from what is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isolet.domain.functions import Function
from isolet.domain.secrets import StoredSecret, decode_value
from isolet.domain.versions import Version
from isolet.functions.vault import Vault
from isolet.ids import FunctionId
from isolet.runtime.config import InstanceSpec
from isolet.store import functions as stored_functions
from isolet.store import secrets as stored_secrets
from isolet.store import versions as stored_versions
from isolet.store.database import Connection, Database


def release_name(function_id: FunctionId, version: int, env_revision: int) -> str:
    """The same name means the same code and the same variables."""
    return f"{function_id}@{version}.{env_revision}"


def release_of(function: Function) -> str:
    """The live release of a function."""
    return release_name(function.id, function.version or 0, function.env_revision)


def purpose(function_id: FunctionId, name: str) -> str:
    """Binds a sealed value to its place, so that one cannot be put in another's stead."""
    return f"secret {name} of {function_id}"


class Releases:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def load(self, function_id: FunctionId, number: int) -> InstanceSpec:
        """A stored version with the variables of now. Raises NotFound when the function or the version is gone."""
        version = await self._database.read(stored_versions.get_version, function_id, number)
        return await self.prepare(version)

    async def prepare(self, version: Version) -> InstanceSpec:
        """A version, stored or about to be, with the variables of now. Raises NotFound."""
        function, secrets = await self._database.read(_function_with_secrets, version.function_id)
        return InstanceSpec(
            release=release_name(function.id, version.number, function.env_revision),
            function_id=function.id,
            project_id=function.project_id,
            version=version.number,
            module=version.bundle,
            limits=function.limits,
            variables=self._variables(function, secrets),
        )

    def _variables(self, function: Function, secrets: Sequence[StoredSecret]) -> Mapping[str, Any]:
        """What the function finds in `env`."""
        return {
            **((function.altair or {}).get("env") or {}),
            **{
                secret.name: decode_value(
                    secret.type,
                    self._vault.open_sealed(
                        function.project_id, secret.sealed, purpose=purpose(function.id, secret.name)
                    ),
                )
                for secret in secrets
            },
        }


def _function_with_secrets(connection: Connection, function_id: FunctionId) -> tuple[Function, list[StoredSecret]]:
    function = stored_functions.get_function(connection, function_id)
    return function, stored_secrets.list_secrets(connection, function_id)
