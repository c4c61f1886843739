"""The pages. Each module has a section with its handlers; those with a label are in the navigation, in this order."""

from __future__ import annotations

from isolet.dashboard.pages import (
    function_calls,
    function_code,
    function_environment,
    function_settings,
    function_triggers,
    function_versions,
    functions,
    projects,
    sessions,
)
from isolet.dashboard.sections import Section

SECTIONS: list[Section] = [
    functions.section,
    function_code.section,
    function_calls.section,
    function_environment.section,
    function_triggers.section,
    function_versions.section,
    function_settings.section,
    projects.section,
    sessions.section,
]
