"""Functions by name: make one or change it, with its sources, variables and settings, and deploy it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from isolet.domain.functions import SLUG_MAX_CHARS, Function, check_slug
from isolet.domain.sources import Sources
from isolet.errors import Conflict, InvalidInput, NotFound
from isolet.functions.deploy import Deployer
from isolet.functions.environment import Environments
from isolet.functions.service import Functions
from isolet.ids import ProjectId


class Wanted(Struct, frozen=True, kw_only=True):
    """What is to be: `values` is what `domain.functions.changed` takes. What is None stays as it is."""

    values: Mapping[str, Any]
    sources: Sources | None = None
    variables: Mapping[str, Any] | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """`deploy` is done when the deploy, or a newer one, has ended; None where there was nothing to deploy."""

    function: Function
    created: bool
    deploy: asyncio.Future[None]


class NamedFunctions:
    def __init__(self, *, functions: Functions, deployer: Deployer, environments: Environments) -> None:
        self._functions = functions
        self._deployer = deployer
        self._environments = environments
        self._locks: weakref.WeakValueDictionary[tuple[ProjectId, str], asyncio.Lock] = weakref.WeakValueDictionary()

    async def put(self, project_id: ProjectId, name: str, wanted: Wanted, *, created_by_id: str | None) -> Outcome:
        """Make a function or change it, and begin its deploy. Raises InvalidInput, LimitReached."""
        lock = self._locks.setdefault((project_id, name), asyncio.Lock())
        async with lock:
            try:
                before = await self._functions.find(project_id, name)
            except NotFound:
                return await self._create(project_id, name, wanted, created_by_id)
            return await self._change(before, wanted)

    async def create(self, project_id: ProjectId, name: str, wanted: Wanted, *, created_by_id: str | None) -> Outcome:
        """Raises Conflict when the name is taken, InvalidInput, LimitReached."""
        lock = self._locks.setdefault((project_id, name), asyncio.Lock())
        async with lock:
            try:
                await self._functions.find(project_id, name)
            except NotFound:
                return await self._create(project_id, name, wanted, created_by_id)
            raise Conflict(f"There is a function {name!r} already")

    async def ended(self, outcome: Outcome, wait_s: float) -> Function:
        """The function after its deploy, or as it is when that takes longer."""
        await asyncio.wait([outcome.deploy], timeout=wait_s)
        return await self._functions.get(outcome.function.project_id, outcome.function.id)

    async def _create(self, project_id: ProjectId, name: str, wanted: Wanted, created_by_id: str | None) -> Outcome:
        if wanted.sources is None:
            raise InvalidInput("files or code is required for a new function")
        values = {"name": name, **_slug(name), **wanted.values, "code": wanted.sources.code, "sources": wanted.sources}
        function = await self._functions.create(project_id, values, created_by_id=created_by_id)
        try:
            if wanted.variables:
                await self._environments.change(function, wanted.variables, label="variables")
            deploy = await self._deployer.accept(function)
        except BaseException:
            await asyncio.shield(self._functions.delete(project_id, function.id))
            raise
        return Outcome(function=await self._functions.get(project_id, function.id), created=True, deploy=deploy)

    async def _change(self, before: Function, wanted: Wanted) -> Outcome:
        values = dict(wanted.values)
        if wanted.sources is not None:
            values |= {"code": wanted.sources.code, "sources": wanted.sources}
        function = await self._change_settings(before, values, wanted.variables or {})
        deploy = await self._deployer.accept(function)
        after = await self._functions.get(before.project_id, before.id)
        return Outcome(function=replace(after, code=None), created=False, deploy=deploy)

    async def _change_settings(
        self, before: Function, values: Mapping[str, Any], variables: Mapping[str, Any]
    ) -> Function:
        """All of it or nothing."""
        earlier = await self._environments.of_function(before) if variables else None
        if variables:
            await self._environments.change(before, variables, label="variables")
        try:
            return await self._functions.update(before.project_id, before.id, values) if values else before
        except BaseException:
            if earlier is not None:
                await asyncio.shield(self._environments.replace(before, earlier.values))
            raise


def _slug(name: str) -> dict[str, str]:
    """The name itself, where it can be a slug."""
    try:
        return {"slug": check_slug(name)} if len(name) <= SLUG_MAX_CHARS else {}
    except InvalidInput:
        return {}
