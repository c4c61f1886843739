"""What an instance of a function runs: the release, put together from what is stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from isolet.database import environment as stored_environment
from isolet.database import functions as stored_functions
from isolet.database import projects as stored_projects
from isolet.database import secrets as stored_secrets
from isolet.database import versions as stored_versions
from isolet.database.connection import Connection, Database
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.domain.redaction import Redactor
from isolet.domain.secrets import StoredSecret, decode_value
from isolet.domain.versions import Version
from isolet.functions import private_settings
from isolet.functions.vault import Vault
from isolet.ids import FunctionId
from isolet.runtime.spec import InstanceSpec


def release_name(function_id: FunctionId, version: int, env_revision: int) -> str:
    """The same name means the same code and the same variables."""
    return f"{function_id}@{version}.{env_revision}"


def release_of(function: Function) -> str:
    """The live release of a function."""
    return release_name(function.id, function.version or 0, function.env_revision)


def purpose(function_id: FunctionId, name: str) -> str:
    """Binds a sealed value to its place, so that one cannot be put in another's stead."""
    return f"secret {name} of {function_id}"


def environment_purpose(owner_id: str) -> str:
    """The same for the environment variables of a function or a project."""
    return f"environment of {owner_id}"


class Context(Struct, frozen=True, kw_only=True):
    """What the platform tells a function of itself: variables, and what `ctx.app` is made of."""

    variables: Mapping[str, str]
    app: Mapping[str, Any]


class Releases:
    """`context_of` makes what functions are told of the platform."""

    def __init__(self, database: Database, vault: Vault, *, context_of: Callable[[Function, Project], Context]) -> None:
        self._database = database
        self._vault = vault
        self._context_of = context_of

    async def load(self, function_id: FunctionId, number: int) -> InstanceSpec:
        """A stored version with the variables of now. Raises NotFound when the function or the version is gone."""
        version = await self._database.read(stored_versions.get_version, function_id, number)
        return await self.prepare(version)

    async def prepare(self, version: Version) -> InstanceSpec:
        """A version, stored or about to be, with the variables of now. Raises NotFound."""
        function, project, secrets, sealed = await self._database.read(_read, version.function_id)
        if secrets or sealed or function.sealed_env:
            await self._vault.load_missing(function.project_id)
        context = self._context_of(function, project)
        spec = InstanceSpec(
            release=release_name(function.id, version.number, function.env_revision),
            function_id=function.id,
            project_id=function.project_id,
            version=version.number,
            module=version.bundle,
            code=version.code,
            modules=version.modules,
            compatibility=version.compatibility,
            limits=function.limits,
            variables=self._variables(function, secrets),
            environment=self._environment(function, sealed),
            platform=context.variables,
            app=context.app,
            bindings=function.bindings or {},
        )
        # Values are many, or large, as their owner likes.
        return replace(spec, redactor=await asyncio.to_thread(Redactor, spec.private)) if spec.private else spec

    def _environment(self, function: Function, sealed: Mapping[str, bytes]) -> Mapping[str, Any]:
        """The project's variables, and above them the function's."""
        values: dict[str, Any] = {}
        for owner, data in sealed.items():
            text = self._vault.open_sealed(function.project_id, data, purpose=environment_purpose(owner))
            values.update(json.loads(text))
        return values

    def _variables(self, function: Function, secrets: Sequence[StoredSecret]) -> Mapping[str, Any]:
        """What the function finds in `env`."""
        values = {
            **private_settings.door_env(self._vault, function),
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
        return {name: value for name, value in values.items() if name not in (function.bindings or {})}


def _read(
    connection: Connection, function_id: FunctionId
) -> tuple[Function, Project, list[StoredSecret], dict[str, bytes]]:
    function = stored_functions.get_function(connection, function_id)
    owners: dict[str, stored_environment.Stored | None] = {
        function.project_id: stored_environment.get_project_environment(connection, function.project_id),
        function.id: stored_environment.get_function_environment(connection, function_id),
    }
    sealed = {owner: found[0] for owner, found in owners.items() if found is not None}
    project = stored_projects.get_project(connection, function.project_id)
    return function, project, stored_secrets.list_secrets(connection, function_id), sealed
