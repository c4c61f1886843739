"""A sentence for each operation of the dialects and of the server itself, for the API's description.

Those of the native API are in its contract.
"""

from __future__ import annotations

from collections.abc import Mapping

_KAPSO = {
    "get /functions": "Functions of the project, newest first.",
    "post /functions": "Make a function. It is a draft until it is deployed.",
    "get /functions/{function_id}": "A function with its code.",
    "patch /functions/{function_id}": "Change name, code or settings of a function. Code is live after a deploy.",
    "put /functions/{function_id}": "The same as PATCH.",
    "delete /functions/{function_id}": "Delete a function with its versions and secrets.",
    "post /functions/{function_id}/deploy": "Deploy the code of a function. The deploy goes on after the reply.",
    "post /functions/{function_id}/invoke": "Call a function. The reply is the function's own.",
    "get /functions/{function_id}/invocations": "Calls of a function, newest first.",
    "get /functions/{function_id}/secrets": "Names of the secrets of a function.",
    "post /functions/{function_id}/secrets": "Set a secret of a function. It is shown to nobody.",
    "delete /functions/{function_id}/secrets/{name}": "Delete a secret of a function.",
    "get /workflows": "Workflows of the project, newest first.",
    "post /workflows": "Make a workflow. It is a draft until its status is `active`.",
    "get /workflows/{workflow_id}": "A workflow.",
    "patch /workflows/{workflow_id}": "Change a workflow; `lock_version` is the one that was read.",
    "delete /workflows/{workflow_id}": "Delete a workflow with its triggers.",
    "get /workflows/{workflow_id}/definition": "A workflow with its nodes and edges.",
    "get /workflows/{workflow_id}/triggers": "The triggers of a workflow.",
    "post /workflows/{workflow_id}/triggers": "Add a trigger to a workflow.",
    "put /workflows/{workflow_id}/triggers": "Replace all triggers of a workflow.",
    "patch /triggers/{workflow_trigger_id}": "Switch a trigger on or off.",
    "delete /triggers/{workflow_trigger_id}": "Delete a trigger.",
    "post /workflows/{workflow_id}/executions": "Start a run of a workflow.",
    "get /workflows/{workflow_id}/executions": "Runs of a workflow, newest first.",
    "get /workflow_executions": "Runs of all workflows, newest first.",
    "get /workflow_executions/{execution_id}": "A run.",
    "patch /workflow_executions/{execution_id}": "End a run, or hand it over.",
    "post /workflow_executions/{execution_id}/resume": "Give a run that waits what it waits for.",
    "get /workflow_executions/{execution_id}/events": "What happened in a run, in order.",
    "get /workflow_events/{event_id}": "One event of a run.",
    "get /workflows/{workflow_id}/variables": "The variables that a workflow uses.",
    "get /provider_models": "Models that agents may name.",
    "get /whatsapp/phone_numbers": "Phone numbers: none, there is no WhatsApp here.",
}
_OLDER = {name.replace("/workflows", "/flows"): text for name, text in _KAPSO.items()}
_BUTTERBASE = {
    "post /functions": "Deploy a function by its name, and wait for the result.",
    "get /functions": "The functions of an app.",
    "get /functions/{name}": "A function with its trigger and figures.",
    "delete /functions/{name}": "Delete a function.",
    "get /functions/{name}/logs": "Calls of a function with their console lines.",
    "get /functions/{name}/logs/stream": "Calls and console lines of a function as they happen, as server-sent events.",
    "patch /functions/{name}/env": "Change environment variables of a function; null removes one.",
    "patch /functions/{name}/settings": "Change settings of a function.",
    "post /functions/{name}/invoke": "A test call of the owner, whatever the function's triggers say.",
    "get /env": "Names of an app's environment variables.",
    "patch /env": "Change environment variables of an app; null removes one.",
    "post /realtime/configure": "Watching tables, which is not there.",
    "get /realtime/config": "The tables that are watched: none.",
    "delete /realtime/{name}": "Stop watching a table, which is not there.",
}
_ALTAIR = {
    "post /functions": "Make a function of base64 code, and deploy it.",
    "get /functions": "The functions of a space.",
    "get /functions/{name}": "A function without its code.",
    "put /functions/{name}": "Replace a function.",
    "delete /functions/{name}": "Delete a function.",
    "get /functions/{name}/code": "The code of a function.",
    "get /functions/{name}/logs": "Console lines of a function.",
    "post /functions/{name}/async-invoke": "Accept a call that runs later; a callback gets its result.",
    "post /triggers": "Make a trigger of a space.",
    "get /triggers": "The triggers of a space.",
    "get /triggers/{trigger_id}": "A trigger of a space.",
    "put /triggers/{trigger_id}": "Replace a trigger of a space.",
    "delete /triggers/{trigger_id}": "Delete a trigger of a space.",
}
_SERVER = {
    "get /healthz": "Whether the server and its database work.",
    "get /metrics": "Figures of the server in Prometheus' format.",
    "post /oauth2/token": "A token that stands for an API key, by client credentials.",
    "post /oauth2/revoke": "Make a token invalid.",
}
_METHODS = ("get", "post", "put", "patch", "delete")
_PUBLIC = "Call a function by its http trigger. The reply is the function's own."
_INVOKE = "Call a function of a space. The reply is the function's own."

# By method and path.
SENTENCES: Mapping[str, str] = {
    name.replace(" ", f" {prefix}", 1): text
    for prefix, table in {
        "/platform/v1": _KAPSO,
        "/api/v1": _OLDER,
        "/v1/{app_id}": {**_BUTTERBASE, **{f"{method} /fn/{{name}}": _PUBLIC for method in _METHODS}},
        "/spaces/{space}": {**_ALTAIR, **{f"{method} /functions/{{name}}/invoke": _INVOKE for method in _METHODS}},
        "": _SERVER,
    }.items()
    for name, text in table.items()
}
