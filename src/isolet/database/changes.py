"""What tells that a row was changed. It is read often where several servers share a database, so without bodies."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from sqlalchemy import Connection, func, select

from isolet.database.access import list_keys
from isolet.database.projects import list_projects
from isolet.database.tables.functions import functions
from isolet.database.tables.identity import oauth_tokens, token_settings
from isolet.domain.access import Key
from isolet.domain.projects import Project
from isolet.ids import FunctionId, ProjectId

_FUNCTION = (
    functions.c.version,
    functions.c.env_revision,
    functions.c.lock_version,
    functions.c.updated_at_ms,
    functions.c.last_deployed_at_ms,
    functions.c.status,
)


class Marks(Struct, frozen=True, kw_only=True):
    """A mark is equal as long as nothing changed. Projects and keys are small, so they are there as they are."""

    functions: Mapping[FunctionId, tuple[object, ...]]
    projects: Mapping[str, Project]
    keys: Mapping[bytes, Key]
    token_settings: Mapping[ProjectId, int]
    oauth_tokens: tuple[object, ...]


def read_marks(connection: Connection) -> Marks:
    rows = connection.execute(select(functions.c.id, *_FUNCTION))
    settings = connection.execute(select(token_settings.c.project_id, token_settings.c.updated_at_ms))
    tokens = connection.execute(select(func.count(), func.max(oauth_tokens.c.expires_at_ms)).select_from(oauth_tokens))
    return Marks(
        functions={FunctionId(row.id): tuple(row[1:]) for row in rows},
        projects={project.slug: project for project in list_projects(connection)},
        keys={key.digest: key for key in list_keys(connection)},
        token_settings={ProjectId(project_id): at_ms for project_id, at_ms in settings},
        oauth_tokens=tuple(tokens.one()),
    )
