"""The native API of functions by name: create, replace, read, delete; their sources, secrets and variables."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import PlainTextResponse
from msgspec import Struct

from isolet.access.rules import Access, PathFunction, PathSlug
from isolet.api.asgi import parse_json
from isolet.api.body import JsonForm
from isolet.api.native import shapes
from isolet.api.native.serving import page, serve
from isolet.api.reply import Json, large
from isolet.api.request import open_body
from isolet.api.rows import Granted, GrantedFunction, GrantedProject
from isolet.clock import iso
from isolet.contract.functions import FunctionReply, VersionNumber
from isolet.contract.functions import Functions as FunctionOperations
from isolet.contract.secrets import SecretReply, Secrets, SecretValue
from isolet.contract.variables import VariableChanges, Variables
from isolet.domain.access import Role
from isolet.domain.functions import Function, FunctionStatus
from isolet.domain.secrets import StoredSecret
from isolet.domain.sources import DEFAULT_ENTRY, FILES_MAX, SOURCES_MAX_BYTES, Sources, check_sources, diff
from isolet.domain.variables import check_variables
from isolet.errors import DeployFailed, InvalidInput
from isolet.functions.deploy import Deployer
from isolet.functions.environment import Environments
from isolet.functions.named import NamedFunctions, Outcome, Wanted
from isolet.functions.secrets import Secrets as SecretService
from isolet.functions.service import Functions

_IN_PROJECT = Access(Role.DEPLOY, PathSlug())
_OF_FUNCTION = Access(Role.DEPLOY, PathFunction())
_READ_IN_PROJECT = _IN_PROJECT.for_readers()
_READ_FUNCTION = _OF_FUNCTION.for_readers()
# Base64 makes four characters of three bytes, and JSON escapes some.
_BODY_MAX_BYTES = 2 * SOURCES_MAX_BYTES
_VALUES_MAX = 8 * FILES_MAX
_WAIT_MAX_S = 300
_SETTINGS = (
    *("description", "access", "hosts", "cors", "compatibility_date", "compatibility_flags", "public_endpoint"),
    *("limits", "retry", "bindings", "tool"),
)
_WAITED: dict[int | str, Any] = {status: {"model": FunctionReply} for status in (200, 201, 202)}
_MEMBERS = frozenset({*_SETTINGS, "files", "code", "entry", "variables"})
_FILES = frozenset({"files", "entry"})
Wait = Annotated[float | None, Query(ge=0, le=_WAIT_MAX_S)]


class NamedFunctionsDoor(Struct, frozen=True, kw_only=True):
    functions: Functions
    named: NamedFunctions
    deployer: Deployer
    secrets: SecretService
    environments: Environments

    @serve(FunctionOperations.put_named, _IN_PROJECT, responses=_WAITED)
    async def put_function(self, request: Request, grant: Granted, name: str, wait: Wait = None) -> Response:
        """Create a function or change it, and deploy it: 201 or 200 with `wait` seconds, else 202."""
        wanted, _ = await _read(request, grant)
        outcome = await self.named.put(grant.project.id, name, wanted, created_by_id=grant.principal.key_id)
        return await self._answer(outcome, grant, wait, accepted=202)

    @serve(FunctionOperations.create, _IN_PROJECT, responses=_WAITED)
    async def create_function(self, request: Request, grant: Granted, wait: Wait = None) -> Response:
        """Create a function and deploy it; 409 when its name is taken."""
        wanted, name = await _read(request, grant, named=True)
        outcome = await self.named.create(grant.project.id, name, wanted, created_by_id=grant.principal.key_id)
        return await self._answer(outcome, grant, wait, accepted=201)

    @serve(FunctionOperations.get_named, _READ_IN_PROJECT)
    async def get_named_function(self, project: GrantedProject, name: str) -> FunctionReply:
        return shapes.function_reply(await self.functions.find(project.id, name), project.slug)

    @serve(FunctionOperations.delete_named, _IN_PROJECT)
    async def delete_named_function(self, project: GrantedProject, name: str) -> None:
        function = await self.functions.find(project.id, name)
        await self.functions.delete(project.id, function.id)

    @serve(FunctionOperations.deploy, _OF_FUNCTION, responses=_WAITED)
    async def deploy_function(self, grant: Granted, wait: Wait = None) -> Response:
        """Deploy the code as it stands."""
        outcome = Outcome(function=grant.function, created=False, deploy=await self.deployer.accept(grant.function))
        return await self._answer(outcome, grant, wait, accepted=202)

    @serve(FunctionOperations.get_files, _READ_FUNCTION)
    async def get_files(self, function: GrantedFunction, version: VersionNumber | None = None) -> Response:
        """The sources as they were sent: of a version, else those that the next deploy takes."""
        sources = await self._sources(function, version)
        return await large(sources.to_json)

    @serve(FunctionOperations.put_files, _OF_FUNCTION)
    async def put_files(self, request: Request, grant: Granted) -> Response:
        """Keep sources without deploying them; what is live stays live."""
        wanted, _ = await _read(request, grant, members=_FILES)
        if wanted.sources is None:
            raise InvalidInput("files is required")
        sources, function = wanted.sources, grant.function
        await self.functions.update(function.project_id, function.id, {"code": sources.code, "sources": sources})
        return await large(sources.to_json)

    @serve(FunctionOperations.diff, _READ_FUNCTION)
    async def get_diff(
        self,
        function: GrantedFunction,
        from_version: Annotated[VersionNumber | None, Query(alias="from")] = None,
        to_version: Annotated[VersionNumber | None, Query(alias="to")] = None,
    ) -> Response:
        """A unified diff over all files, from a version (the live one) to another, or to what is not deployed."""
        number = function.version if from_version is None else from_version
        before = Sources(entry="", files={}) if number is None else await self._sources(function, number)
        after = await self._sources(function, to_version)
        text = await asyncio.to_thread(diff, before, after)
        return PlainTextResponse(text)

    @serve(Secrets.list, _READ_FUNCTION)
    async def list_secrets(self, function: GrantedFunction) -> Response:
        """Names and kinds; a value is never shown."""
        return await page(_secret_reply, await self.secrets.list(function), None)

    @serve(Secrets.put, _OF_FUNCTION)
    async def put_secret(self, function: GrantedFunction, secret_name: str, body: SecretValue) -> SecretReply:
        """Set a secret, in the place of an earlier value too; no call sees neither."""
        await self.secrets.put(function, secret_name, body.value)
        found = next(one for one in await self.secrets.list(function) if one.name == secret_name)
        return _secret_reply(found)

    @serve(Secrets.delete, _OF_FUNCTION)
    async def delete_secret(self, function: GrantedFunction, secret_name: str) -> None:
        await self.secrets.delete(function, secret_name)

    @serve(Variables.get, _OF_FUNCTION)
    async def get_variables(self, function: GrantedFunction) -> Response:
        environment = await self.environments.of_function(function)
        return await large(lambda: dict(environment.values))

    @serve(Variables.change, _OF_FUNCTION)
    async def change_variables(self, function: GrantedFunction, body: VariableChanges) -> Response:
        """Set variables, or remove them with null. A change is live with the next call."""
        environment = await self.environments.change(function, check_variables(body.root), label="variables")
        return await large(lambda: dict(environment.values))

    async def _sources(self, function: Function, version: int | None) -> Sources:
        if version is not None:
            return (await self.functions.version(function.id, version)).sources
        return (await self.functions.get(function.project_id, function.id, with_code=True)).sources

    async def _answer(self, outcome: Outcome, grant: Granted, wait: float | None, *, accepted: int) -> Response:
        """Raises DeployFailed when the deploy that was waited for failed."""
        if wait is None:
            return Json(shapes.function_reply(outcome.function, grant.project.slug).to_json(), status_code=accepted)
        function = await self.named.ended(outcome, wait)
        if function.status is FunctionStatus.ERROR and function.deploy_error is not None:
            error = function.deploy_error
            place = {"file": error.file, "line": error.line, "column": error.column, "text": error.text}
            raise DeployFailed(error.message, details=place)
        done = 201 if outcome.created else 200
        status = done if function.status is FunctionStatus.DEPLOYED else 202
        return Json(shapes.function_reply(function, grant.project.slug).to_json(), status_code=status)


def _secret_reply(secret: StoredSecret) -> SecretReply:
    return SecretReply(name=secret.name, type=secret.type.value, created_at=iso(secret.created_at_ms))


async def _read(
    request: Request, grant: Granted, *, named: bool = False, members: frozenset[str] = _MEMBERS
) -> tuple[Wanted, str]:
    """What a body asks for, and the name in it where it has one. Raises InvalidInput, RequestError, TooLarge."""
    with open_body(request, grant.project.id, limit=_BODY_MAX_BYTES) as body:
        whole = await body.whole(JsonForm(_VALUES_MAX))
        # Large texts take their time; so does base64.
        return await asyncio.to_thread(_wanted, whole, named, members)


def _wanted(whole: bytes, named: bool, members: frozenset[str]) -> tuple[Wanted, str]:
    sent: Any = parse_json(whole or b"{}")
    if not isinstance(sent, dict):
        raise InvalidInput("the body must be an object")
    name = sent.pop("name", None) if named else ""
    if named and not isinstance(name, str):
        raise InvalidInput("name is required")
    for member in sent:
        if member not in members:
            raise InvalidInput(f"{member[:100]} is not known; members are {', '.join(sorted(members))}")
    values = {member: sent[member] for member in _SETTINGS if member in sent}
    if not isinstance(values.get("limits", {}), dict):
        raise InvalidInput("limits must be an object")
    variables = check_variables(sent["variables"]) if "variables" in sent else None
    return Wanted(values=values, sources=_sources(sent), variables=variables), str(name)


def _sources(sent: dict[str, Any]) -> Sources | None:
    if "code" in sent and "files" in sent:
        raise InvalidInput("send files or code, not both")
    if "files" in sent:
        return check_sources(sent["files"], sent.get("entry"))
    if "code" in sent:
        entry = sent.get("entry") or DEFAULT_ENTRY
        if not isinstance(sent["code"], str):
            raise InvalidInput("code must be text")
        if not isinstance(entry, str):
            raise InvalidInput("entry must be text")
        return check_sources({entry: sent["code"]})
    if "entry" in sent:
        raise InvalidInput("entry needs files beside it")
    return None
