"""The tables of routes, read from the code: every method of a package's doors that has a row."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Collection, Mapping

import httpx
from msgspec import Struct

from isolet.access.rules import Access
from isolet.api.rows import rows_of
from isolet.domain.access import Role


class Row(Struct, frozen=True, kw_only=True):
    method: str
    path: str
    access: Access
    code: Callable[[httpx.Response], str]

    @property
    def template(self) -> str:
        """As the API's description has it."""
        return re.sub(r":\w+}", "}", self.path)

    @property
    def names(self) -> set[str]:
        return set(re.findall(r"{(\w+)", self.path))

    def url(self, values: Mapping[str, str]) -> str:
        """With the project in the query where the row looks for it there."""
        path = re.sub(r"{(\w+)[^}]*}", lambda found: values[found[1]], self.path)
        names = [name for name in self.access.project.query if name in values]
        return path + ("?" + "&".join(f"{name}={values[name]}" for name in names) if names else "")

    @property
    def smaller(self) -> list[Role]:
        return [role for role in Role if role.rank < self.access.role.rank and role not in self.access.also]


def read_table(
    prefix: str, package: str, code: Callable[[httpx.Response], str], *, without: Collection[str] = ()
) -> list[Row]:
    """`code` reads the code of an error in the dialect of the table; `without` are names of classes to leave out."""
    folder = importlib.import_module(package).__path__
    modules = [importlib.import_module(f"{package}.{found.name}") for found in pkgutil.iter_modules(folder)]
    doors = [member for module in modules for member in vars(module).values() if isinstance(member, type)]
    return [
        Row(method=row.method, path=prefix + row.path, access=row.access, code=code)
        for door in dict.fromkeys(doors)
        if door.__name__ not in without
        for _, row in rows_of(door)
    ]


def _native(reply: httpx.Response) -> str:
    return str(reply.json()["error"]["code"])


def _kapso(reply: httpx.Response) -> str:
    assert isinstance(reply.json()["error"], str)
    return _BY_STATUS.get(reply.status_code, reply.text)


def _butterbase(reply: httpx.Response) -> str:
    code = str(reply.json()["error"]["code"])
    return _BUTTERBASE_CODES.get(code, code)


def _altair(reply: httpx.Response) -> str:
    return _BY_STATUS.get(reply.json()["error"]["status"], reply.text)


_BY_STATUS = {401: "unauthenticated", 403: "forbidden", 404: "not_found"}
_BUTTERBASE_CODES = {
    "AUTH_REQUIRED": "unauthenticated",
    "AUTH_INVALID_API_KEY": "unauthenticated",
    "AUTH_INSUFFICIENT_PERMISSIONS": "forbidden",
    "RESOURCE_NOT_FOUND": "not_found",
}
# Doors of one of Kapso's bases only.
_OLDER = ("OlderKapsoFunctions", "OlderWorkflowsDoor", "OlderExecutionsDoor")
_NEWER = (
    "EventsDoor",
    "WorkflowsDoor",
    "WorkflowTriggersDoor",
    "WorkflowVariablesDoor",
    "ProvidersDoor",
    "ExecutionsDoor",
)
TABLES = {
    "/isolet/v1": read_table("/isolet/v1", "isolet.api.native", _native),
    "/platform/v1": read_table("/platform/v1", "isolet.api.kapso", _kapso, without=_OLDER),
    "/api/v1": read_table("/api/v1", "isolet.api.kapso", _kapso, without=_NEWER),
    "/v1": read_table("/v1/{app_id}", "isolet.api.butterbase", _butterbase),
    "/spaces": read_table("/spaces/{space}", "isolet.api.altair", _altair),
}
ROWS = [row for table in TABLES.values() for row in table]
