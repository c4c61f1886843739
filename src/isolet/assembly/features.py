"""Features that stand beside the core: a package each, with a module here that opens it.

A feature is added by its module and a line in `FEATURES`. Nothing of the core knows it.
"""

from __future__ import annotations

from collections.abc import Callable

from isolet.assembly.agents import open_agents
from isolet.assembly.core import Core
from isolet.assembly.feature import Feature
from isolet.assembly.flows import open_flows
from isolet.assembly.project_data import open_project_data
from isolet.assembly.realtime import open_realtime
from isolet.assembly.schedules import open_schedules
from isolet.assembly.tools import open_tools

# They are opened in this order, after the core and before anything runs, and closed in reverse.
FEATURES: tuple[Callable[[Core], Feature], ...] = (
    open_project_data,
    open_schedules,
    open_realtime,
    open_tools,
    open_agents,
    open_flows,
)
