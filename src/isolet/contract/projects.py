"""Projects, their API keys, and whose signatures of end users' tokens they trust."""

from __future__ import annotations

from typing import Any

from isolet.contract.models import Body, Page, Reply, Texts
from isolet.contract.operations import Mode, Resource, operation


class ProjectCreate(Body):
    slug: str
    name: str | None = None
    plan: str | None = None
    allowed_origins: Texts | None = None
    limits: dict[str, Any] | None = None
    egress_allow: Texts | None = None


class ProjectUpdate(Body):
    """Only what is sent changes; of `limits` too, where null takes the server's default again.

    `egress_allow` are networks among those that the operator opened to functions: null for all, `[]` for none.
    """

    name: str | None = None
    plan: str | None = None
    allowed_origins: Texts | None = None
    limits: dict[str, Any] | None = None
    egress_allow: Texts | None = None


class ProjectReply(Reply):
    """`limits` are those that hold: the project's own and, for the rest, the server's."""

    id: str
    slug: str
    name: str
    plan: str
    allowed_origins: list[str]
    limits: dict[str, int]
    egress_allow: list[str] | None
    created_at: str


class Projects(Resource[Mode]):
    """The root key makes, changes and deletes projects; a project's key sees its own."""

    tag = "projects"

    @operation("POST", "/projects", status=201)
    def create(self, body: ProjectCreate) -> ProjectReply:
        """Make a project."""

    @operation("GET", "/projects")
    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[ProjectReply]:
        """By slug."""

    @operation("GET", "/projects/{slug}")
    def get(self, slug: str) -> ProjectReply:
        """A project with its settings and limits."""

    @operation("PATCH", "/projects/{slug}")
    def update(self, slug: str, body: ProjectUpdate) -> ProjectReply:
        """Change settings of a project. What is left out stays."""

    @operation("DELETE", "/projects/{slug}", status=204)
    def delete(self, slug: str) -> None:
        """Delete a project with all that is in it."""
