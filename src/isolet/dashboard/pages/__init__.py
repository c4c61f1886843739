"""The pages. Each module has a section with its handlers; those with a label are in the navigation, in this order."""

from __future__ import annotations

from isolet.dashboard.pages import (
    flows,
    function_calls,
    function_code,
    function_logs,
    function_metrics,
    function_secrets,
    function_settings,
    function_triggers,
    function_try,
    function_versions,
    functions,
    keys,
    kv,
    projects,
    queue,
    realtime,
    runs,
    sessions,
    sql,
    system,
    usage,
)
from isolet.dashboard.sections import Section

SECTIONS: list[Section] = [
    functions.section,
    function_code.section,
    function_try.section,
    function_calls.section,
    function_logs.section,
    function_metrics.section,
    function_secrets.section,
    function_triggers.section,
    function_versions.section,
    function_settings.section,
    kv.section,
    sql.section,
    queue.section,
    flows.section,
    runs.section,
    realtime.section,
    keys.section,
    usage.section,
    system.section,
    projects.section,
    sessions.section,
]
