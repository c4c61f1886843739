"""What one project may take of its server: budgets that keep a project from using up what all share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from isolet.errors import InvalidInput

_MOST = 2**31 - 1


class ProjectLimits(Struct, frozen=True, kw_only=True):
    """`max_instances` run at once, `storage_mb` MiB of KV and SQL, `queued_calls` and `queued_mb` MiB that wait to run,
    `records_mb` MiB of records of calls, `functions`, `log_streams` and outgoing `connections` open at once,
    `channels` of live messages, and live connections of clients, `realtime_connections`;
    `runs` of workflows that have not ended, and `runs_mb` MiB that all runs take; API `keys` that have not
    expired; `results_mb` MiB of asynchronous calls, callbacks and steps that have ended;
    `code_mb` MiB of the code of functions with their versions; `schedules`;
    `settings_mb` MiB of the settings, variables and secrets of functions, and payloads of schedules.
    """

    max_instances: int = 250
    storage_mb: int = 10_240
    queued_calls: int = 100_000
    queued_mb: int = 512
    records_mb: int = 1_024
    functions: int = 1_000
    log_streams: int = 50
    connections: int = 1_000
    channels: int = 1_000
    realtime_connections: int = 5_000
    runs: int = 10_000
    runs_mb: int = 1_024
    keys: int = 1_000
    results_mb: int = 4_096
    code_mb: int = 10_240
    schedules: int = 5_000
    settings_mb: int = 64

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    def changed(self, overrides: Mapping[str, int]) -> ProjectLimits:
        """These limits with a project's own in their place; members that this version does not know are passed over."""
        return replace(self, **{name: value for name, value in overrides.items() if name in NAMES})


NAMES = ProjectLimits.__struct_fields__


def check_overrides(value: object) -> dict[str, int | None]:
    """Limits of a project as an operator sets them; None takes the server's default again. Raises InvalidInput."""
    if not isinstance(value, Mapping):
        raise InvalidInput("limits must be an object")
    return {_check_name(name): _check_value(name, given) for name, given in value.items()}


def overridden(before: Mapping[str, int], changes: Mapping[str, int | None]) -> dict[str, int]:
    """A project's own limits after changes that were checked."""
    after: dict[str, int | None] = {**before, **changes}
    return {name: value for name, value in after.items() if value is not None}


def _check_name(name: Any) -> str:
    if name not in NAMES:
        raise InvalidInput(f"limits: {name[:100]!r} is not one of {', '.join(NAMES)}")
    return str(name)


def _check_value(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
        raise InvalidInput(f"limits.{name} must be a whole number from 1 to {_MOST}, or null for the server's default")
    return value
