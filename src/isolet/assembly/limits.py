"""What a project may take of the server when it has no limits of its own."""

from __future__ import annotations

from collections.abc import Callable

from isolet.domain.project_limits import NAMES, ProjectLimits
from isolet.ids import ProjectId
from isolet.routing.routes import Routes
from isolet.runtime.places import Share
from isolet.settings import Settings

_MIB = 1024 * 1024


def project_limits(settings: Settings) -> ProjectLimits:
    """As set; the number of instances is half of the server's unless it is set."""
    given = {name: getattr(settings, f"project_{name}") for name in NAMES}
    given["max_instances"] = given["max_instances"] or max(settings.max_instances // 2, 1)
    return ProjectLimits(**given)


def settings_room(routes: Routes, project_id: ProjectId) -> int:
    """How many bytes the settings of a project's functions and payloads of its schedules may take."""
    return routes.limits_of(project_id).settings_mb * _MIB


def share_of(settings: Settings, routes: Routes) -> Callable[[ProjectId], Share]:
    """A number that the operator chose is a limit; the usual half is all while nobody else wants room."""
    usual = project_limits(settings).max_instances

    def share(project_id: ProjectId) -> Share:
        chosen = routes.limits_of(project_id).max_instances
        return Share(instances=chosen, is_limit=settings.project_max_instances > 0 or chosen != usual)

    return share
