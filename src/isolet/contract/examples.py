"""A body for each operation that takes JSON: what the API's description shows, and tests send as it is.

They speak of a project `demo` with a function `hello`, a workflow `orders` and a version 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CODE = "export default { fetch: () => new Response('Hello') };"

# By the operation's id.
_GRAPH = {
    "nodes": [
        {"id": "start", "data": {"node_type": "start", "config": {}}},
        {"id": "wait", "data": {"node_type": "wait_for_response", "config": {"save_response_to": "answer"}}},
    ],
    "edges": [{"source": "start", "target": "wait", "label": "next"}],
}
BODIES: Mapping[str, Any] = {
    "agent_model_set": {"base_url": "https://models.example.com/v1", "model": "small", "api_key_secret": "sk-example"},
    "database_query": {"sql": "SELECT ? + 1 AS answer", "params": [41]},
    "deliveries_redeliver": {"host": "hooks.example.com", "since": "2026-01-01T00:00:00Z"},
    "executions_retry": {"from": "start", "graph": "latest"},
    "executions_start": {"variables": {"customer": "Ada"}},
    "flows_check": {"definition": _GRAPH},
    "flows_create": {"name": "Greeting", "definition": _GRAPH},
    "flows_emit": {"name": "order.paid", "properties": {"amount": 12}},
    "flows_set_channel": {"url": "https://bot.example.com/messages"},
    "flows_set_policies": {"start": {"retries": 2, "backoff_s": 5}},
    "flows_update": {"status": "active", "definition": _GRAPH},
    "functions_create": {"name": "greeter", "code": _CODE, "access": "public"},
    "functions_put_files": {"files": {"index.js": _CODE, "data.bin": {"base64": "AAEC"}}},
    "functions_put_named": {
        "files": {
            "index.ts": "import { hi } from './hi';\nexport default { fetch: () => new Response(hi) };",
            "hi.ts": "export const hi: string = 'Hello';",
        },
        "access": "public",
        "variables": {"LANGUAGE": "en"},
        "bindings": {"CACHE": {"type": "kv", "namespace": "cache"}},
    },
    "functions_roll_back": {"version": 1},
    "functions_update": {"timeout_ms": 30_000},
    "keys_create": {"name": "deploys", "role": "deploy", "expires_at": "2036-01-01T00:00:00Z"},
    "master_key_rotate": {},
    "projects_create": {"slug": "shop", "name": "Shop", "allowed_origins": ["https://shop.example.com"]},
    "projects_update": {"name": "Shop", "allowed_origins": ["https://shop.example.com"]},
    "realtime_publish": {"channel": "news", "event": "posted", "data": {"title": "Hello"}},
    "realtime_send_event": {"event": "move", "payload": {"to": "e4"}},
    "realtime_set_rules": {"subscribe": "authenticated", "max_connections": 100},
    "schedules_backfill": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
    "schedules_create": {"cron": "0 9 * * 1-5", "name": "mornings", "timezone": "Europe/Paris", "payload": {"a": 1}},
    "schedules_create_of_flow": {"cron": "@daily", "payload": {"customer": "Ada"}},
    "schedules_pause": {"reason": "holidays"},
    "schedules_preview": {"cron": "0 9 * * 1-5", "timezone": "Europe/Paris", "count": 3},
    "schedules_update": {"cron": "0 10 * * 1-5", "overlap": "skip"},
    "secrets_put": {"value": "only-we-know"},
    "tokens_set": {"issuer": "https://auth.example.com", "hs256_secret": "at-least-thirty-two-characters-long"},
    "tools_call": {"arguments": {"name": "Ada"}},
    "tools_mcp": {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}},
    "variables_change": {"GREETING": "Hello", "OLD": None},
}
