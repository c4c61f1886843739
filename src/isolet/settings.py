"""The operator's settings: one table gives the dataclass, the variables, the flags and the docs.

Every setting is a flag `--like-this`, a variable `ISOLET_LIKE_THIS`, and a key `like_this` of the configuration file.
The flag wins over the variable, and both win over the file.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from isolet.errors import SettingsError
from isolet.settingtext import check_url, read_limits, read_networks

PREFIX = "ISOLET_"
# What other commands read.
_OTHER_VARIABLES = frozenset({"ISOLET_URL", "ISOLET_PROJECT", "ISOLET_PROFILE", "ISOLET_NEW_MASTER_KEY"})
# No number is larger, so that none is too large for a timer or, times what its unit holds, for a database.
_MOST = 2**31 - 1
_PORT_MAX = 65_535
_OFF = "off"
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_NAMED = re.compile(rf"cannot read ({PREFIX}[A-Z_]+): ")


class Secret(str):
    """Text that prints as `***`; `reveal()` gives it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __str__(self) -> str:
        return "***"

    def reveal(self) -> str:
        return str.__getitem__(self, slice(None))


def _setting(
    default: Any,
    doc: str,
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    metadata = {"doc": doc, "choices": choices, "minimum": minimum, "maximum": maximum}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(7878, "Port to listen on; 0 takes a free one.", minimum=0, maximum=_PORT_MAX)
    data_dir: Path = _setting(Path(".isolet"), "Directory of the database, the keys and the stores.")
    api_key: Secret | None = _setting(
        None, "Root API key. Without it one is generated once and kept in the data directory."
    )
    master_key: Secret | None = _setting(
        None, "Key that encrypts secrets: 32 bytes in base64. Without it one is generated once likewise."
    )
    database_url: Secret | None = _setting(
        None, "SQLAlchemy URL of the database. Without it SQLite in the data directory."
    )
    upgrade_backup: str = _setting(
        "on",
        "`off` changes the schema of the database at the first start of a release without a backup of it.",
        choices=("on", "off"),
    )
    public_url: str | None = _setting(
        None, "Base URL that clients use, shown in `endpoint_url`. Without it the request's own base."
    )
    functions_domain: str | None = _setting(
        None,
        "Domain below which each function has a host of its own, such as `fn.example.com`; `off` for none. Without it "
        "`localhost` while the server listens on a loopback address.",
    )
    trusted_proxies: str = _setting(
        "", "Networks of the proxies that may say for whom they ask (`X-Forwarded-For`): CIDRs, comma separated."
    )
    dashboard_port: str = _setting(
        "",
        "Port of the platform's own pages; 0 takes a free one, `off` shows none. Without it the one after `--port`, or "
        "a free one when that is taken.",
    )
    dashboard_url: str | None = _setting(
        None, "Address of the platform's own pages behind a proxy. Without it the name of the request and their port."
    )
    egress_allow: str = _setting("", "Further networks that functions may reach: CIDRs, comma separated.")
    idle_timeout_s: float = _setting(300.0, "Seconds without a call after which an instance stops.", minimum=0.05)
    queue_timeout_s: float = _setting(
        10.0, "Seconds a call waits while its function runs as many as it may; then 429.", minimum=0
    )
    websocket_idle_timeout_s: float = _setting(
        300.0, "Seconds without a frame after which a WebSocket is closed.", minimum=0.1
    )
    max_instances: int = _setting(500, "Instances of all functions together.", minimum=1)
    memory_budget_mb: int = _setting(
        0, "Memory that all instances together may use, in MiB; 0 takes three quarters of the machine's.", minimum=0
    )
    project_max_instances: int = _setting(
        0, "Instances that a project may have while others want room; 0 takes half of all.", minimum=0
    )
    project_storage_mb: int = _setting(10_240, "KV and SQL that a project may store, in MiB.", minimum=1)
    project_queued_calls: int = _setting(
        100_000, "Asynchronous calls, and callbacks, of a project that have not ended.", minimum=1
    )
    project_queued_mb: int = _setting(
        512, "What the bodies of a project's calls and callbacks that have not ended may hold, in MiB.", minimum=1
    )
    project_records_mb: int = _setting(1_024, "Records of calls that a project keeps, in MiB.", minimum=1)
    project_functions: int = _setting(1_000, "Functions that a project may have.", minimum=1)
    project_log_streams: int = _setting(50, "Live log streams of a project at once.", minimum=1)
    project_connections: int = _setting(1_000, "Outgoing connections of a project open at once.", minimum=1)
    project_channels: int = _setting(1_000, "Channels of live messages that a project may have.", minimum=1)
    project_realtime_connections: int = _setting(5_000, "Live connections of a project's clients at once.", minimum=1)
    project_runs: int = _setting(10_000, "Runs of workflows of a project that have not ended.", minimum=1)
    project_runs_mb: int = _setting(1_024, "MiB that a project's runs of workflows may take.", minimum=1)
    project_keys: int = _setting(1_000, "API keys that a project may have, without those that expired.", minimum=1)
    project_results_mb: int = _setting(
        4_096,
        "Asynchronous calls, callbacks and steps of workflows that have ended, which a project keeps, in MiB.",
        minimum=1,
    )
    project_code_mb: int = _setting(
        10_240, "Code of a project's functions, with their versions and bundles, in MiB.", minimum=1
    )
    project_schedules: int = _setting(5_000, "Schedules of functions and workflows that a project may have.", minimum=1)
    project_settings_mb: int = _setting(
        64, "Settings, variables and secrets of a project's functions, and payloads of schedules, in MiB.", minimum=1
    )
    realtime_frame_kb: int = _setting(
        128, "Largest frame of a live connection, in KiB, where its project says nothing.", minimum=1
    )
    realtime_frames_s: float = _setting(
        200.0, "Frames a second that a live connection takes, five seconds of them at once.", minimum=1
    )
    realtime_idle_timeout_s: float = _setting(
        90.0, "Seconds without any sign of its client after which a live connection is closed.", minimum=1
    )
    max_body_mb: int = _setting(100, "Largest request body, in MiB.", minimum=1)
    body_memory_mb: int = _setting(
        256, "Memory that request bodies which are read or wait may hold, in MiB; a project a quarter of it.", minimum=4
    )
    body_disk_mb: int = _setting(
        4096, "Disk that large request bodies may hold while they wait, in MiB; a project a quarter of it.", minimum=4
    )
    metrics_public: bool = _setting(False, "Whether `/metrics` answers without the root key.")
    database_max_mb: int = _setting(10_240, "Largest SQL database, and KV index, of a project, in MiB.", minimum=1)
    retention_days: float = _setting(30.0, "Days that records of calls are kept.", minimum=0)
    retention_rows: int = _setting(100_000, "Records of calls that a project keeps.", minimum=1)
    rate_limits: str = _setting(
        "free=100,pro=500,enterprise=1000,platform=1000",
        "Requests a minute that a project takes, whoever makes them, by its plan; a plan not named has no limit.",
    )
    shared_pages: str = _setting(
        "sandboxed",
        "`plain` lets pages of functions act as the origin that all functions share, instead of one of their own each.",
        choices=("sandboxed", "plain"),
    )
    sandbox: str = _setting(
        "on",
        "`off` runs instances without bubblewrap, where namespaces are not allowed.",
        choices=("on", "off"),
    )
    start_timeout_s: float = _setting(15.0, "Seconds an instance may take to load its code.", minimum=0.1)
    drain_timeout_s: float = _setting(
        30.0, "Seconds that running calls get to finish when the server stops.", minimum=0
    )
    job_concurrency: int = _setting(64, "Asynchronous calls that run at once.", minimum=1)
    job_crash_limit: int = _setting(
        3, "Times in a row that the server may end while it runs a job before the job fails; 0 for any.", minimum=0
    )
    job_memory_mb: int = _setting(
        256,
        "Memory that bodies of running jobs may hold, in MiB, half of it of one project; at least two largest bodies.",
        minimum=1,
    )
    callback_concurrency: int = _setting(64, "Callbacks that are delivered at once.", minimum=1)
    callback_host_concurrency: int = _setting(8, "Callbacks that are delivered at once to one host.", minimum=1)
    callback_schedule_s: str = _setting(
        "0,5,300,1800,7200,18000,36000,36000", "Seconds to wait before each attempt at a callback, comma separated."
    )
    callback_timeout_s: float = _setting(15.0, "Seconds that a receiver has to answer a callback.", minimum=0.1)
    callback_http: bool = _setting(False, "Whether callbacks may go to host names over http.")
    adopt: bool = _setting(
        False,
        "Run what a copied, or moved, database has queued, and its schedules; give it when the original does not run "
        "any more.",
    )
    result_retention_h: float = _setting(168.0, "Hours that results of asynchronous calls are kept.", minimum=0)
    log_format: str = _setting("console", "Form of the platform's own log.", choices=("console", "json"))
    log_level: str = _setting("info", "Least level logged.", choices=("debug", "info", "warning", "error"))
    workerd: Path | None = _setting(None, "The workerd binary. Without it the one npm installed.")
    esbuild: Path | None = _setting(None, "The esbuild binary. Without it the one npm installed.")

    @property
    def max_body_bytes(self) -> int:
        return self.max_body_mb * 1024 * 1024

    @property
    def requests_a_minute(self) -> dict[str, int]:
        """By plan. Raises SettingsError."""
        return read_limits(PREFIX + "RATE_LIMITS", self.rate_limits)

    @property
    def pages_port(self) -> int | None:
        """The port that was asked for for the platform's pages, if any. Raises SettingsError."""
        text = self.dashboard_port.strip().lower()
        if text in ("", _OFF):
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 5) or int(text) > _PORT_MAX:
            raise SettingsError(
                f"cannot read {PREFIX}DASHBOARD_PORT: {self.dashboard_port!r} is not a port from 0 to {_PORT_MAX}, "
                f"or {_OFF!r}"
            )
        return int(text)

    @property
    def shows_pages(self) -> bool:
        return self.dashboard_port.strip().lower() != _OFF

    @property
    def is_local(self) -> bool:
        """Whether the server listens on a loopback address."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @property
    def domain_of_functions(self) -> str | None:
        """In lower case; None for none. Raises SettingsError."""
        text = (self.functions_domain or "").strip().lower().strip(".")
        if text == _OFF:
            return None
        if not text:
            return "localhost" if self.is_local else None
        if not _DOMAIN.fullmatch(text) or len(text) > 190:
            raise SettingsError(
                f"cannot read {PREFIX}FUNCTIONS_DOMAIN: {self.functions_domain!r} is not a domain such as "
                f"fn.example.com, or {_OFF!r}"
            )
        return text

    @property
    def callback_schedule(self) -> tuple[float, ...]:
        """The waits before each attempt, in seconds. Raises SettingsError."""
        try:
            found = tuple(_parse_float(part) for part in self.callback_schedule_s.split(","))
        except ValueError as exc:
            raise SettingsError(
                f"cannot read {PREFIX}CALLBACK_SCHEDULE_S: {self.callback_schedule_s!r} is not a list of seconds"
            ) from exc
        if min(found) < 0 or max(found) > _MOST:
            raise SettingsError(f"cannot read {PREFIX}CALLBACK_SCHEDULE_S: a wait is below 0, or above {_MOST}")
        return found

    @property
    def egress_networks(self) -> tuple[str, ...]:
        """The allowed CIDRs in canonical form. Raises SettingsError."""
        return read_networks(PREFIX + "EGRESS_ALLOW", self.egress_allow)

    @property
    def trusted_networks(self) -> tuple[str, ...]:
        """The CIDRs of trusted proxies in canonical form. Raises SettingsError."""
        return read_networks(PREFIX + "TRUSTED_PROXIES", self.trusted_proxies)


def fields() -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(Settings)


@cache
def _type_hints() -> Mapping[str, Any]:
    """Reading them takes a millisecond, and each setting asks for its own."""
    return typing.get_type_hints(Settings)


def value_type(field: dataclasses.Field[Any]) -> type:
    """The field's type without `| None`."""
    hint = _type_hints()[field.name]
    if isinstance(hint, types.UnionType):
        hint = next(arm for arm in typing.get_args(hint) if arm is not types.NoneType)
    return typing.cast(type, hint)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SettingsFile:
    """What a configuration file says: values by the names of settings, of the types that these have."""

    path: Path
    values: Mapping[str, Any]


def load(
    environment: Mapping[str, str], flags: Mapping[str, Any] | None = None, file: SettingsFile | None = None
) -> Settings:
    """Settings from flags, then variables, then the file, then defaults; an empty one counts as none.

    Raises SettingsError naming the flag, the variable, or the key and the file.
    """
    given = _given(environment, flags, file)
    by_name = {field.name: field for field in fields()}
    settings = Settings(**{name: _parse(by_name[name], value, source) for name, (source, value) in given.items()})
    try:
        _check(settings)
    except SettingsError as exc:
        raise SettingsError(with_source(exc.message, environment, flags, file)) from exc
    return settings


def with_source(
    message: str, environment: Mapping[str, str], flags: Mapping[str, Any] | None, file: SettingsFile | None
) -> str:
    """A message that names a setting by its variable, with the flag or the key that its value came from instead."""
    if (found := _NAMED.match(message)) is None:
        return message
    variable = found[1]
    source, _ = _given(environment, flags, file).get(variable.removeprefix(PREFIX).lower(), (variable, None))
    return message.replace(variable, source, 1)


def _given(
    environment: Mapping[str, str], flags: Mapping[str, Any] | None, file: SettingsFile | None
) -> dict[str, tuple[str, Any]]:
    """The values that are given, by the names of settings, each with the flag, variable or key that says so."""
    found: dict[str, tuple[str, Any]] = {}
    for field in fields():
        variable = PREFIX + field.name.upper()
        places = [("--" + field.name.replace("_", "-"), (flags or {}).get(field.name))]
        places.append((variable, environment.get(variable)))
        if file is not None:
            places.append((f"{field.name} in {file.path}", file.values.get(field.name)))
        first = next((place for place in places if place[1] not in (None, "")), None)
        if first is not None:
            found[field.name] = first
    return found


def _check(settings: Settings) -> None:
    """Raises SettingsError naming the variable."""
    check_url(PREFIX + "PUBLIC_URL", settings.public_url)
    check_url(PREFIX + "DASHBOARD_URL", settings.dashboard_url, path=False)
    _ = (
        settings.pages_port,
        settings.domain_of_functions,
        settings.egress_networks,
        settings.trusted_networks,
        settings.requests_a_minute,
        settings.callback_schedule,
    )


def misspelt(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Variables `ISOLET_…` that nothing reads, each with the nearest that something does."""
    known = {PREFIX + field.name.upper() for field in fields()} | _OTHER_VARIABLES
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    return {name: next(iter(get_close_matches(name, sorted(known), n=1)), None) for name in unknown}


_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def _parse(field: dataclasses.Field[Any], given: Any, source: str) -> Any:
    wanted = value_type(field)
    try:
        value = _PARSERS.get(wanted, wanted)(given)
    except (TypeError, ValueError) as exc:
        raise SettingsError(f"cannot read {source}: {given!r} is not {_WORDS[wanted]}") from exc
    choices, minimum, maximum = (field.metadata[name] for name in ("choices", "minimum", "maximum"))
    if maximum is None and wanted in (int, float):
        maximum = _MOST
    if choices and value not in choices:
        raise SettingsError(f"cannot read {source}: {given!r} is not one of {', '.join(choices)}")
    if minimum is not None and value < minimum:
        raise SettingsError(f"cannot read {source}: {given!r} is below {minimum}")
    if maximum is not None and value > maximum:
        raise SettingsError(f"cannot read {source}: {given!r} is above {maximum}")
    return value


def _parse_bool(given: Any) -> bool:
    text = str(given).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(text)


def _parse_float(given: Any) -> float:
    value = float(given)
    if not math.isfinite(value):
        raise ValueError(given)
    return value


_WORDS: Mapping[type, str] = {int: "a whole number", float: "a number", bool: "yes or no"}
_PARSERS: Mapping[type, Callable[[Any], Any]] = {bool: _parse_bool, float: _parse_float}
