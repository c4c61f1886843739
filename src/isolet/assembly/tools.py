"""Functions as tools: their native API, and the endpoint of the Model Context Protocol."""

from __future__ import annotations

from collections.abc import Sequence

from isolet.assembly.core import Core
from isolet.assembly.feature import Feature
from isolet.domain.own_hosts import OwnHosts
from isolet.domain.public_routes import host_of
from isolet.tools.service import Tools


def open_tools(core: Core) -> Feature:
    settings = core.host.settings
    names = {host_of(settings.public_url), settings.host.lower()}
    hosts = OwnHosts(names=frozenset(name for name in names if name))
    tools = Tools(routes=core.registry.routes, invoker=core.invoker, checks=core.functions.checks)

    def doors() -> Sequence[object]:
        from isolet.api.native.tools import ToolsDoor  # noqa: PLC0415

        return [ToolsDoor(tools=tools, hosts=hosts)]

    return Feature(doors=doors)
