"""Functions and their versions."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictInt

from isolet.contract.models import Body, Model, Number, Page, Reply, Texts
from isolet.contract.operations import Mode, Resource, operation

# No more than a database's column holds.
VersionNumber = Annotated[int, Field(ge=0, le=2**31 - 1)]


class FunctionUpdate(Body):
    """Limits and settings of a function; only what is sent changes."""

    name: str | None = None
    slug: str | None = None
    description: str | None = None
    public_endpoint: bool | None = None
    timeout_ms: StrictInt | None = None
    cpu_ms: StrictInt | None = None
    memory_limit_mb: StrictInt | None = None
    concurrency: StrictInt | None = None
    max_instances: StrictInt | None = None
    retry: dict[str, Any] | None = None
    tool: dict[str, Any] | None = None
    access: str | None = None
    cors: str | None = None
    hosts: Texts | None = None
    bindings: dict[str, Any] | None = None


class Rollback(Body):
    version: VersionNumber


class DeployErrorReply(Reply):
    """Why the last deploy failed, and where in the code."""

    message: str
    file: str | None
    line: int | None
    column: int | None
    text: str | None
    at: str


class RetryReply(Reply):
    attempts: int
    backoff_ms: int
    backoff_max_ms: int
    statuses: list[int]


class ToolSettingsReply(Reply):
    """How agents see a function that is a tool. `mode` is `read_only` or `read_write`."""

    description: str | None
    mode: str
    exposed_to: str
    input_schema: dict[str, Any] | None


class FunctionReply(Reply):
    """`version` is the live one; `status` is `draft`, `deployed` or `error`.

    `socket_event` is the event of live connections that calls it.
    """

    id: str
    project: str
    name: str
    slug: str
    description: str | None
    status: str
    version: int | None
    public_endpoint: bool
    access: str
    cors: str
    hosts: list[str]
    bindings: dict[str, Any]
    socket_event: str | None
    compatibility_date: str | None
    compatibility_flags: list[str]
    deploy_error: DeployErrorReply | None
    timeout_ms: int
    cpu_ms: int
    memory_limit_mb: int
    concurrency: int
    max_instances: int
    retry: RetryReply
    tool: ToolSettingsReply | None
    lock_version: int
    created_at: str
    updated_at: str
    last_deployed_at: str | None


class GlanceReply(Reply):
    """The last day: calls, those that failed, a percentage of them, and the calls of each hour, oldest first."""

    total: int
    errors: int
    error_rate: Number
    p95_ms: Number | None
    series: list[int]


class FunctionOverviewReply(FunctionReply):
    """`triggers` are the kinds of those that are on, `schedules` how many schedules are, that of a trigger too."""

    triggers: list[str]
    schedules: int
    last_day: GlanceReply


class VersionReply(Reply):
    version: int
    live: bool
    language: str
    created_at: str


class EncodedFile(Model):
    """A file that is not text."""

    base64: str


class SourcesReply(Reply):
    """Files by their paths, as they were sent."""

    entry: str
    files: dict[str, str | EncodedFile]


class VersionDetailReply(VersionReply, SourcesReply):
    """With the sources."""


class SourcesBody(Body):
    """Files by their paths; `entry` may be left out where it can be told."""

    files: dict[str, str | EncodedFile]
    entry: str | None = None


class FunctionDefinition(Body):
    """What is left out stays as it is; `files` is the whole new set, `code` one file of text."""

    files: dict[str, str | EncodedFile] | None = None
    code: str | None = None
    entry: str | None = None
    description: str | None = None
    access: str | None = None
    hosts: Texts | None = None
    bindings: dict[str, Any] | None = None
    cors: str | None = None
    public_endpoint: bool | None = None
    compatibility_date: str | None = None
    compatibility_flags: Texts | None = None
    variables: dict[str, Any] | None = None
    limits: dict[str, Any] | None = None
    retry: dict[str, Any] | None = None
    tool: dict[str, Any] | None = None


class NewFunctionDefinition(FunctionDefinition):
    name: str


class Functions(Resource[Mode]):
    tag = "functions"

    @operation("GET", "/functions")
    def list(self, *, project: str | None = None, limit: int = 50, cursor: str | None = None) -> Page[FunctionReply]:
        """Functions, newest first."""

    @operation("GET", "/functions/{function_id}")
    def get(self, function_id: str) -> FunctionReply:
        """A function with its settings and its state."""

    @operation("PATCH", "/functions/{function_id}")
    def update(self, function_id: str, body: FunctionUpdate) -> FunctionReply:
        """Change settings of a function, which hold from its next call on. What is left out stays."""

    @operation("DELETE", "/functions/{function_id}", status=204)
    def delete(self, function_id: str) -> None:
        """Delete a function with its versions, secrets and schedules."""

    @operation("GET", "/functions/{function_id}/versions")
    def list_versions(self, function_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[VersionReply]:
        """Newest first."""

    @operation("GET", "/functions/{function_id}/versions/{number}")
    def get_version(self, function_id: str, number: int) -> VersionDetailReply:
        """A version with its sources."""

    @operation("POST", "/functions/{function_id}/rollback")
    def roll_back(self, function_id: str, body: Rollback) -> FunctionReply:
        """Make an earlier version live again."""

    @operation("POST", "/functions/{function_id}/deploy", status=202)
    def deploy(self, function_id: str, *, wait: float | None = None) -> FunctionReply:
        """Deploy the code as it stands. With `wait` seconds the reply comes when it is live or has failed."""

    @operation("GET", "/functions/{function_id}/files")
    def get_files(self, function_id: str, *, version: int | None = None) -> SourcesReply:
        """Of a version, else those that the next deploy takes."""

    @operation("PUT", "/functions/{function_id}/files")
    def put_files(self, function_id: str, body: SourcesBody) -> SourcesReply:
        """In place of all files that there are; the next deploy takes them."""

    @operation(
        "GET",
        "/functions/{function_id}/diff",
        media_type="text/plain",
        queries={"from_version": "from", "to_version": "to"},
    )
    def diff(self, function_id: str, *, from_version: int | None = None, to_version: int | None = None) -> str:
        """A unified diff over all files, from a version (the live one) to another, or to what is not deployed."""

    @operation("PUT", "/projects/{slug}/functions/{name}", status=202)
    def put_named(self, slug: str, name: str, body: FunctionDefinition, *, wait: float | None = None) -> FunctionReply:
        """Create a function or change it, and deploy it. `wait` as of `deploy`."""

    @operation("POST", "/projects/{slug}/functions", status=201)
    def create(self, slug: str, body: NewFunctionDefinition, *, wait: float | None = None) -> FunctionReply:
        """Create a function and deploy it; a conflict when its name is taken. `wait` as of `deploy`."""

    @operation("GET", "/projects/{slug}/functions")
    def overview(
        self, slug: str, *, q: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[FunctionOverviewReply]:
        """With what each did in the last day. `q` is a part of a name or slug."""

    @operation("GET", "/projects/{slug}/functions/{name}")
    def get_named(self, slug: str, name: str) -> FunctionReply:
        """A function by its name or slug."""

    @operation("DELETE", "/projects/{slug}/functions/{name}", status=204)
    def delete_named(self, slug: str, name: str) -> None:
        """Delete a function by its name or slug."""
