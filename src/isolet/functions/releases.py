"""What an instance of a function runs: the release, put together from what is stored."""

from __future__ import annotations

from isolet.domain.functions import Function
from isolet.domain.versions import Version
from isolet.ids import FunctionId
from isolet.runtime.config import InstanceSpec
from isolet.store import functions as stored_functions
from isolet.store import versions as stored_versions
from isolet.store.database import Database


def release_name(function_id: FunctionId, version: int) -> str:
    """The same name means the same code and the same variables."""
    return f"{function_id}@{version}"


class Releases:
    def __init__(self, database: Database) -> None:
        self._database = database

    def spec(self, function: Function, version: Version) -> InstanceSpec:
        return InstanceSpec(
            release=release_name(function.id, version.number),
            function_id=function.id,
            project_id=function.project_id,
            version=version.number,
            module=version.bundle,
            limits=function.limits,
        )

    async def load(self, function_id: FunctionId, number: int) -> InstanceSpec:
        """Raises NotFound when the function or the version is gone."""
        function = await self._database.read(stored_functions.get_function, function_id)
        version = await self._database.read(stored_versions.get_version, function_id, number)
        return self.spec(function, version)
