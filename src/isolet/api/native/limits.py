"""`GET /isolet/v1/limits`: what functions and callers may use here. `docs/limits.md` says what happens beyond."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from isolet.access.rules import Access, OfKey
from isolet.agents import agent
from isolet.agents.chat import ANSWER_MAX_S, TRIES_MAX
from isolet.agents.toolbox import TOOLS_TOGETHER_MAX
from isolet.agents.turn import RESULT_MAX_CHARS
from isolet.api.body import SMALL_BYTES
from isolet.api.native.serving import serve
from isolet.api.request import MANAGEMENT_BODY_MAX_BYTES, MANAGEMENT_VALUES_MAX
from isolet.api.rows import GrantedProject
from isolet.compile.esbuild import CPU_MAX_S, MEMORY_MAX_MB
from isolet.contract.limits import Limits, LimitsReply
from isolet.database.deleted import NAMES_MAX
from isolet.domain import environment, json_bounds, json_schemas, limits, realtime, secrets, stores, tools
from isolet.domain.access import Role
from isolet.domain.flows import call_cycles, executions, graph, policies, runs, workflows
from isolet.domain.json_text import DEPTH_MAX
from isolet.domain.projects import Plan
from isolet.domain.sessions import SESSIONS_MAX
from isolet.flows.bursts import LIMITS as STARTS_MAX
from isolet.flows.project_events import EMITTED_MAX
from isolet.flows.project_events import STARTS_MAX as EVENT_STARTS_MAX
from isolet.functions.deploy import VERSIONS_KEPT
from isolet.invoke.bodies import SHARE, WAITING_MAX
from isolet.jobs.webhook_secrets import WEBHOOK_SECRETS_MAX
from isolet.project_data import kv, sql
from isolet.projects.tokens import TOKENS_MAX
from isolet.realtime import connection, rooms
from isolet.realtime.calls import REPLY_MAX_BYTES
from isolet.realtime.frames import METADATA_MAX_BYTES
from isolet.realtime.presence import TRACKED_MAX_BYTES
from isolet.realtime.socket import UNSENT_MAX_BYTES
from isolet.routing.routes import Routes
from isolet.runtime.callers import PROJECT_WAITING_MAX
from isolet.runtime.callers import WAITING_MAX as WAITING_MAX_CALLERS
from isolet.settings import Settings
from isolet.wire.channel import HEADERS_MAX as REPLY_HEADERS_MAX
from isolet.wire.protocol import HEAD_MAX_BYTES, HEADERS_MAX, PIPELINED_MAX, Protocol

_MB = 1024 * 1024


class LimitsDoor(Struct, frozen=True, kw_only=True):
    routes: Routes
    settings: Settings

    @serve(Limits.get, Access(Role.READ, OfKey()))
    async def get_limits(self, project: GrantedProject) -> LimitsReply:
        """Any key may ask. Units are in the names; null: no limit.

        - `call`: `body_window_s` of waiting for a body must bring `body_least_bytes_s` a second.
        - `management`: of a request of the management API with a body of JSON.
        - `private`: of a function; `variables` as well of a project. Each string in a secret of JSON is a value.
        - `function`: the bounds of what the owner of a function may set, and what it is otherwise.
        - `setting`: of each that is JSON of its owner's choice, such as `runtime_config`.
        - `project`: what the caller's project may take of the server; for the root key the default project.
        - `requests_a_minute`: of a project together, whoever makes them, by its plan.
        - `workflow_starts_a_second`: of one workflow with one key, on Kapso's routes, by the project's plan.
        """
        return LimitsReply(**_limits_of(self.settings), project=self.routes.limits_of(project.id).to_json())


def _limits_of(settings: Settings) -> dict[str, Any]:
    rates = settings.requests_a_minute
    return {
        **_calls(settings),
        **_code(settings),
        **_data(settings),
        **_features(settings),
        **_workflows(settings),
        "instances": settings.max_instances,
        "requests_a_minute": {plan.value: rates.get(plan.value) for plan in Plan},
    }


def _calls(settings: Settings) -> dict[str, Any]:
    """Of calls and what is recorded of them."""
    defaults = limits.Limits().to_json()
    return {
        "function": {
            name: {"default": defaults[name], "minimum": least, "maximum": most}
            for name, (least, most) in limits.BOUNDS.items()
        },
        "call": {
            "body_bytes": settings.max_body_bytes,
            "headers": HEADERS_MAX,
            "head_bytes": HEAD_MAX_BYTES,
            "pipelined_requests": PIPELINED_MAX,
            "reply_headers": REPLY_HEADERS_MAX,
            "small_body_bytes": SMALL_BYTES,
            "bodies_memory_bytes": settings.body_memory_mb * _MB,
            "bodies_disk_bytes": settings.body_disk_mb * _MB,
            "project_bodies_memory_bytes": settings.body_memory_mb * _MB // SHARE,
            "project_bodies_disk_bytes": settings.body_disk_mb * _MB // SHARE,
            "project_bodies_waiting": WAITING_MAX,
            "json_depth": DEPTH_MAX,
            "body_window_s": Protocol.body_window_s,
            "body_least_bytes_s": Protocol.body_least_bytes_s,
            "waiting": WAITING_MAX_CALLERS,
            "project_waiting": PROJECT_WAITING_MAX,
            "queue_timeout_s": settings.queue_timeout_s,
            "console_lines": limits.CONSOLE_MAX_LINES,
            "console_line_chars": limits.CONSOLE_MAX_CHARS,
            "console_bytes": limits.CONSOLE_MAX_BYTES,
        },
        "management": {"body_bytes": MANAGEMENT_BODY_MAX_BYTES, "json_values": MANAGEMENT_VALUES_MAX},
        "record": {
            "body_bytes": limits.RECORDED_BODY_MAX_BYTES,
            "error_chars": limits.ERROR_MAX_CHARS,
            "kept_days": settings.retention_days,
            "kept_rows": settings.retention_rows,
        },
    }


def _code(settings: Settings) -> dict[str, Any]:
    """Of what functions are made of."""
    return {
        "deploy": {
            "code_bytes": limits.CODE_MAX_BYTES,
            "start_timeout_s": settings.start_timeout_s,
            "compile_memory_bytes": MEMORY_MAX_MB * _MB,
            "compile_cpu_s": CPU_MAX_S,
            "waiting_a_function": 1,
            "versions_kept": VERSIONS_KEPT,
            "deleted_names_of_a_project": NAMES_MAX,
        },
        "private": {
            "secrets": secrets.SECRETS_MAX,
            "secret_values": secrets.PRIVATE_VALUES_MAX,
            "secret_bytes": secrets.PRIVATE_MAX_BYTES,
            "variables": environment.VALUES_MAX,
            "variable_bytes": environment.TOTAL_MAX_BYTES,
        },
        "setting": {"json_bytes": json_bounds.SETTING_MAX_BYTES, "json_depth": json_bounds.SETTING_MAX_DEPTH},
        "secret": {"name_chars": secrets.NAME_MAX_CHARS, "value_bytes": secrets.VALUE_MAX_BYTES},
        "credentials": {
            "access_tokens_of_a_project": TOKENS_MAX,
            "webhook_secrets_of_a_project": WEBHOOK_SECRETS_MAX,
            "sessions_of_a_key": SESSIONS_MAX,
        },
    }


def _data(settings: Settings) -> dict[str, Any]:
    """Of data that functions keep."""
    return {
        "kv": {
            "key_bytes": kv.KEY_MAX_BYTES,
            "value_bytes": kv.VALUE_MAX_BYTES,
            "metadata_bytes": kv.METADATA_MAX_BYTES,
        },
        "database": {"bytes": settings.database_max_mb * _MB, "statement_bytes": sql.STATEMENT_MAX_BYTES},
        "stores": {
            "namespaces": stores.STORES_MAX,
            "databases": stores.STORES_MAX,
            "bindings_of_a_function": stores.BINDINGS_MAX,
        },
    }


def _features(settings: Settings) -> dict[str, Any]:
    """Of what stands beside calls."""
    return {
        "realtime": {
            "frame_bytes": settings.realtime_frame_kb * 1024,
            "frames_s": settings.realtime_frames_s,
            "idle_timeout_s": settings.realtime_idle_timeout_s,
            "events_waiting": connection.WAITING_MAX,
            "connection_channels": connection.CHANNELS_MAX,
            "project_subscriptions": rooms.SUBSCRIPTIONS_MAX,
            "project_changes_waiting": rooms.WAITING_MAX,
            "reply_bytes": REPLY_MAX_BYTES,
            "unsent_bytes": UNSENT_MAX_BYTES,
            "message_bytes": realtime.MESSAGE_MAX_BYTES,
            "kept_messages": realtime.KEPT_MESSAGES,
            "kept_bytes": realtime.KEPT_BYTES,
            "project_kept_bytes": realtime.PROJECT_KEPT_BYTES,
            "kept_s": realtime.KEPT_MS // 1000,
            "metadata_bytes": METADATA_MAX_BYTES,
            "presence_bytes": TRACKED_MAX_BYTES,
        },
        "tools": {
            "schema_bytes": json_schemas.SCHEMA_MAX_BYTES,
            "arguments_bytes": json_schemas.ARGUMENTS_MAX_BYTES,
            "result_bytes": tools.RESULT_MAX_BYTES,
        },
        "agents": {
            "turn_s": agent.TURN_MAX_S,
            "iterations_default": agent.ITERATIONS_DEFAULT,
            "conversation_bytes": agent.CONVERSATION_MAX_BYTES,
            "tool_result_chars": RESULT_MAX_CHARS,
            "tools": TOOLS_TOGETHER_MAX,
            "answer_s": ANSWER_MAX_S,
            "answer_tries": TRIES_MAX,
        },
    }


def _workflows(settings: Settings) -> dict[str, Any]:
    """Of workflows and their runs."""
    return {
        "flows": {
            "variables_bytes": runs.VARIABLES_MAX_BYTES,
            "context_bytes": runs.CONTEXT_MAX_BYTES,
            "steps": runs.STEPS_MAX,
            "steps_with_retries": executions.ROWS_MAX,
            "call_depth": runs.CALL_DEPTH_MAX,
            "start_depth": runs.START_DEPTH_MAX,
            "events": executions.EVENTS_MAX,
            "event_bytes": executions.EVENT_MAX_BYTES,
            "events_bytes": executions.EVENTS_MAX_BYTES,
            "undo_bytes": executions.UNDO_MAX_BYTES,
            "graphs_of_a_project": executions.GRAPHS_MAX,
            "steps_at_once": settings.job_concurrency,
        },
        "workflows": {
            "count": workflows.WORKFLOWS_MAX,
            "graph_bytes": graph.GRAPH_MAX_BYTES,
            "graphs_bytes": workflows.GRAPHS_MAX_BYTES,
            "graph_values": graph.VALUES_MAX,
            "nodes": graph.NODES_MAX,
            "edges": graph.EDGES_MAX,
            "triggers": workflows.TRIGGERS_MAX,
            "calls": call_cycles.CALLS_MAX,
            "started_by_event": EVENT_STARTS_MAX,
            "emitted_events": EMITTED_MAX,
            "step_retries": policies.RETRIES_MAX,
            "step_timeout_s": policies.TIMEOUT_MAX_S,
        },
        "workflow_starts_a_second": {plan.value: most for plan, most in STARTS_MAX.items()},
    }
