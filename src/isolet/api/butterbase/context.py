"""What functions are told of the platform, by the names of Butterbase's API: variables of `ctx.env`, and `ctx.app`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.functions.releases import Context

# Nobody can set variables whose names begin so.
RESERVED_PREFIX = "BUTTERBASE_"
_REGION = "local"


def context_of(function: Function, project: Project, *, api_url: str) -> Context:
    """`api_url` is the address of the platform that functions are told.

    Only functions with triggers get variables: the others were made by dialects that do not know these names.
    """
    variables = {} if function.triggers is None else _variables(project, api_url)
    return Context(variables=variables, app=_app(project))


def _variables(project: Project, api_url: str) -> Mapping[str, str]:
    """What is not known is left out."""
    known = {"APP_ID": project.slug, "APP_NAME": project.name, "API_URL": api_url, "REGION": _REGION}
    return {RESERVED_PREFIX + name: value for name, value in known.items() if value}


def _app(project: Project) -> Mapping[str, Any]:
    """`ctx.app`."""
    return {
        "id": project.slug,
        "name": project.name,
        "ownerId": None,
        "region": _REGION,
        "subdomain": None,
        "anonKey": None,
        "allowedOrigins": list(project.allowed_origins),
        "frontend": None,
        "auth": None,
        "ai": None,
        "billing": None,
    }
