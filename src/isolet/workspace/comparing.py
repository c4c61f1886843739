"""What a deploy of a function would change on the server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from isolet.client import AsyncClient, NotFound
from isolet.contract.functions import EncodedFile, FunctionDefinition, FunctionReply
from isolet.contract.schedules import ScheduleReply
from isolet.domain.schedules import OPTIONS_NAME, TRIGGER_NAME
from isolet.domain.sources import Sources, check_sources, diff
from isolet.workspace.collecting import Collected
from isolet.workspace.model import FunctionConfig, Schedule
from isolet.workspace.state import is_own

_LIMITS = ("timeout_ms", "cpu_ms", "memory_limit_mb", "concurrency", "max_instances")
_PAGE = 200


class Remote(Struct, frozen=True, kw_only=True):
    """A function as it is on the server. `sources` are those of the live version, None where it has none."""

    reply: FunctionReply
    sources: Sources | None
    variables: Mapping[str, Any]
    schedules: Sequence[ScheduleReply]


class Comparison(Struct, frozen=True, kw_only=True):
    """`members` are lines about what changes beside files, `definition` is what is to be sent."""

    function: FunctionConfig
    collected: Collected
    remote: Remote | None
    definition: FunctionDefinition
    files_differ: bool
    members: tuple[str, ...] = ()
    schedules_to_put: tuple[tuple[Schedule, ScheduleReply | None], ...] = ()
    schedules_to_delete: tuple[ScheduleReply, ...] = field(default=())

    @property
    def deploys(self) -> bool:
        """Whether there is a new version to make."""
        remote = self.remote
        return remote is None or remote.reply.status != "deployed" or self.files_differ or bool(self.members)

    @property
    def changes(self) -> bool:
        return self.deploys or bool(self.schedules_to_put or self.schedules_to_delete)

    def text(self) -> str:
        """A diff of files, and a line for each other change."""
        lines = [f"{member}\n" for member in self.members]
        for schedule, before in self.schedules_to_put:
            lines.append(f"schedule {schedule.name}: {'made' if before is None else 'changed'}\n")
        lines += [f"schedule {schedule.name}: removed\n" for schedule in self.schedules_to_delete]
        return "".join(lines) + self._diff()

    def _diff(self) -> str:
        before = self.remote.sources if self.remote else None
        after = Sources(entry=self.collected.entry, files=self.collected.files)
        shown = diff(_shown(before), _shown(after))
        packages = _count_changes(before, after)
        return shown + (f"Of packages, or a bundle: {packages} files differ\n" if packages else "")


async def read_remote(client: AsyncClient, project: str, name: str) -> Remote | None:
    """None when there is none. Raises ApiError."""
    try:
        reply = await client.functions.get_named(project, name)
    except NotFound:
        return None
    sources = None
    if reply.version is not None:
        found = await client.functions.get_files(reply.id, version=reply.version)
        sources = sources_of(found.entry, found.files)
    variables = await client.variables.get(reply.id)
    schedules = await client.schedules.list_of_function(reply.id, limit=_PAGE)
    return Remote(reply=reply, sources=sources, variables=variables.root, schedules=schedules.data)


def sources_of(entry: str, files: Mapping[str, str | EncodedFile]) -> Sources:
    plain = {path: file if isinstance(file, str) else {"base64": file.base64} for path, file in files.items()}
    return check_sources(plain, entry)


def compare(
    function: FunctionConfig, collected: Collected, remote: Remote | None, *, forgotten: Sequence[str] = ()
) -> Comparison:
    """`forgotten` are variables that an earlier deploy sent, and that the project does not name any more."""
    wanted = _wanted(function)
    members = _different(wanted, remote)
    variables = dict(function.variables)
    variables |= {name: None for name in forgotten if name not in variables}
    there = remote.variables if remote else {}
    # Null removes.
    changed = {name for name, value in variables.items() if not _is_same(there.get(name), value)}
    members += [f"variable {name}: {_verb(name, there, variables)}" for name in sorted(changed)]
    after = Sources(entry=collected.entry, files=collected.files)
    to_put, to_delete = _schedules(function, remote)
    return Comparison(
        function=function,
        collected=collected,
        remote=remote,
        definition=definition_of(
            collected, **wanted, **({"variables": {name: variables[name] for name in changed}} if changed else {})
        ),
        files_differ=remote is None or remote.sources != after,
        members=tuple(members),
        schedules_to_put=to_put,
        schedules_to_delete=to_delete,
    )


def definition_of(collected: Collected, **members: Any) -> FunctionDefinition:
    """What is sent for sources, with further members."""
    files = Sources(entry=collected.entry, files=collected.files).to_json()["files"]
    encoded = {path: _encoded(file) for path, file in files.items()}
    return FunctionDefinition(files=encoded, entry=collected.entry, **members)


def _wanted(function: FunctionConfig) -> dict[str, Any]:
    """The members that the project says something about."""
    members: dict[str, Any] = {
        "description": function.description,
        "access": function.access,
        "cors": function.cors,
        "hosts": None if function.hosts is None else list(function.hosts),
        "compatibility_date": function.compatibility_date,
        "compatibility_flags": None if function.compatibility_flags is None else list(function.compatibility_flags),
        "bindings": None if function.bindings is None else {name: dict(one) for name, one in function.bindings.items()},
        "limits": None if function.limits is None else dict(function.limits),
    }
    return {name: value for name, value in members.items() if value is not None}


def _different(wanted: Mapping[str, Any], remote: Remote | None) -> list[str]:
    if remote is None:
        return []
    lines = []
    for name, value in wanted.items():
        if name == "limits":
            lines += [
                f"{limit}: {getattr(remote.reply, limit)} -> {number}"
                for limit, number in value.items()
                if limit in _LIMITS and getattr(remote.reply, limit) != number
            ]
        elif name == "bindings":
            lines += _bindings(remote.reply.bindings, value)
        elif not _is_same(before := getattr(remote.reply, name), _as_kept(name, value)):
            lines.append(f"{name}: {_text(before)} -> {_text(value)}")
    return lines


def _as_kept(name: str, value: Any) -> Any:
    """As the server keeps it."""
    return [host.lower().removesuffix(".") for host in value] if name == "hosts" else value


def _is_same(one: Any, other: Any) -> bool:
    """As JSON, where true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _bindings(before: Mapping[str, Any], after: Mapping[str, Mapping[str, str]]) -> list[str]:
    full = {name: {_store_member(one): "default", **one} for name, one in after.items()}
    names = sorted({*before, *full})
    return [f"binding {name}: {_verb(name, before, full)}" for name in names if before.get(name) != full.get(name)]


def _store_member(binding: Mapping[str, str]) -> str:
    return "namespace" if binding.get("type") == "kv" else "database"


def _verb(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if after.get(name) is None:
        return "removed"
    return "changed" if name in before else "made"


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _schedules(
    function: FunctionConfig, remote: Remote | None
) -> tuple[tuple[tuple[Schedule, ScheduleReply | None], ...], tuple[ScheduleReply, ...]]:
    """Those of the function's own triggers are not the project's."""
    if function.schedules is None:
        return (), ()
    theirs = (TRIGGER_NAME, OPTIONS_NAME)
    there = {one.name: one for one in (remote.schedules if remote else ()) if one.name not in theirs}
    to_put = [(one, there.get(one.name)) for one in function.schedules if _differs(one, there.get(one.name))]
    names = {one.name for one in function.schedules}
    return tuple(to_put), tuple(one for name, one in there.items() if name not in names)


def _differs(wanted: Schedule, there: ScheduleReply | None) -> bool:
    return there is None or any(
        not _is_same(getattr(there, name, None), value) for name, value in wanted.to_json().items()
    )


def _encoded(file: str | dict[str, str]) -> str | EncodedFile:
    return file if isinstance(file, str) else EncodedFile(base64=file["base64"])


def _shown(sources: Sources | None) -> Sources:
    if sources is None:
        return Sources(entry="", files={})
    return Sources(entry=sources.entry, files={path: file for path, file in sources.files.items() if is_own(path)})


def _count_changes(before: Sources | None, after: Sources) -> int:
    old = {} if before is None else before.files
    paths = {path for path in (*old, *after.files) if not is_own(path)}
    return sum(1 for path in paths if old.get(path) != after.files.get(path))
