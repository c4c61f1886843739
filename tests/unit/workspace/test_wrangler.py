"""wrangler's files: what they become here, and that what they cannot become is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from isolet.workspace.errors import Unmapped, WorkspaceError
from isolet.workspace.loading import check_mapped, load
from isolet.workspace.model import RuleType, Workspace

SMALL = {"name": "app", "main": "src/index.ts"}


def read(folder: Path, environment: str | None = None, **members: Any) -> Workspace:
    (folder / "wrangler.json").write_text(json.dumps({**SMALL, **members}))
    return load(folder, environment=environment)


def test_toml_is_read_with_what_it_maps_to(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "wrangler.toml").write_text(
        """
name = "app"
main = "./src/index.ts"
compatibility_date = 2026-01-01
compatibility_flags = ["nodejs_compat"]
workers_dev = true
account_id = "0123"
vars = { LEVEL = "info", LIMITS = { a = [1, true] } }
rules = [{ type = "Text", globs = ["**/*.md"], fallthrough = true }, { type = "CompiledWasm", globs = ["*.wasm"] }]
define = { VERSION = '"1"' }
limits = { cpu_ms = 50 }

[[kv_namespaces]]
binding = "CACHE"
id = "0f2ac74b498b48028cb68387c421e279"

[[d1_databases]]
binding = "ORDERS"
database_name = "Orders_Prod"
database_id = "x"
migrations_dir = "db"
migrations_table = "done"

[triggers]
crons = ["*/5 * * * *", "0 0 L * *", "*/5 * * * *"]

[observability]
enabled = true
"""
    )
    workspace = load(tmp_path)
    (app,) = workspace.functions
    assert (workspace.unmapped, workspace.notes, app.name, app.entry) == ((), (), "app", "src/index.ts")
    assert (app.compatibility_date, app.compatibility_flags, app.node) == ("2026-01-01", ("nodejs_compat",), True)
    assert app.variables == {"LEVEL": "info", "LIMITS": {"a": [1, True]}}
    assert app.bindings == {
        "CACHE": {"type": "kv", "namespace": "0f2ac74b498b48028cb68387c421e279"},
        "ORDERS": {"type": "d1", "database": "orders-prod"},
    }
    assert [(one.database, one.folder, one.table) for one in workspace.migrations] == [("orders-prod", "db", "done")]
    assert [one.to_json() for one in app.schedules or ()] == [
        {"name": cron, "cron": cron, "dialect": "cloudflare"} for cron in ("*/5 * * * *", "0 0 L * *")
    ]
    assert (app.build.rules, app.build.define, app.limits) == (
        {".md": RuleType.TEXT},
        {"VERSION": '"1"'},
        {"cpu_ms": 50},
    )


def test_jsonc_has_comments_and_commas(tmp_path: Path) -> None:
    (tmp_path / "wrangler.jsonc").write_text(
        '{ // one\n "name": "app", /* two */ "main": "a.js", "vars": {"A": "//x",}, }'
    )
    assert load(tmp_path).functions[0].variables == {"A": "//x"}


def test_an_environment_inherits_what_wrangler_lets_it(tmp_path: Path) -> None:
    members = {
        "compatibility_flags": ["nodejs_compat"],
        "triggers": {"crons": ["* * * * *"]},
        "vars": {"A": "top"},
        "kv_namespaces": [{"binding": "CACHE", "id": "top"}],
        "r2_buckets": [{"binding": "FILES", "bucket_name": "files"}],
        "env": {"staging": {"vars": {"B": 1}}, "live": {"name": "shop", "triggers": {"crons": []}}},
    }
    staging = read(tmp_path, "staging", **members)
    (app,) = staging.functions
    assert (app.name, app.variables, app.bindings, staging.unmapped) == ("app-staging", {"B": 1}, {}, ())
    assert (app.node, len(app.schedules or ())) == (True, 1)
    (live,) = load(tmp_path, environment="live").functions
    assert (live.name, live.schedules) == ("shop", ())


def test_the_projects_first_stores_need_no_binding(tmp_path: Path) -> None:
    (tmp_path / "migrations").mkdir()
    workspace = read(
        tmp_path,
        kv_namespaces=[{"binding": "KV", "id": "a"}],
        d1_databases=[{"binding": "DB", "database_name": "shop"}],
    )
    assert workspace.functions[0].bindings == {}
    assert [one.database for one in workspace.migrations] == ["default"]
    assert [note.partition(":")[0] for note in workspace.notes] == ["kv_namespaces", "d1_databases"]


@pytest.mark.parametrize(
    ("members", "line"),
    [
        (
            {"durable_objects": {"bindings": [{"name": "ROOM", "class_name": "Room"}]}},
            "durable_objects: ROOM (class Room)",
        ),
        ({"migrations": [{"tag": "v1", "new_classes": ["Room"]}]}, "migrations: of Durable Objects"),
        ({"queues": {"producers": [{"binding": "Q", "queue": "mails"}]}}, "queues: Q (queue mails)"),
        ({"queues": {"consumers": [{"queue": "mails"}]}}, "queues: mails"),
        ({"r2_buckets": [{"binding": "FILES", "bucket_name": "f"}]}, "r2_buckets: FILES (f)"),
        ({"services": [{"binding": "AUTH", "service": "auth"}]}, "services: AUTH (auth)"),
        ({"workflows": [{"binding": "W", "name": "w", "class_name": "W2"}]}, "workflows: W w (W2)"),
        ({"ai": {"binding": "AI"}}, "ai: AI"),
        ({"assets": {"directory": "./public", "binding": "ASSETS"}}, "assets: ASSETS"),
        ({"routes": ["example.com/*"]}, "routes: example.com/*"),
        ({"route": {"pattern": "example.com", "custom_domain": True}}, "route"),
        ({"something_new": 1}, "something_new"),
        ({"compatibility_flags": ["unknown_flag"]}, "compatibility_flags: unknown_flag"),
        ({"vars": {"apiHost": "x"}}, "vars.apiHost: names in env are upper case letters, digits and _"),
        ({"limits": {"subrequests": 1}}, "limits.subrequests"),
        (
            {"kv_namespaces": [{"binding": "myCache", "id": "a"}]},
            "kv_namespaces: myCache; a binding's name is upper case",
        ),
        ({"kv_namespaces": [{"binding": "DB", "id": "a"}]}, "kv_namespaces: DB is always a database of the project"),
        ({"rules": [{"type": "Text", "globs": ["docs/*"]}]}, "rules: rules[0].globs has 'docs/*'"),
        ({"rules": [{"type": "PythonModule", "globs": ["*.py"]}]}, "rules: rules[0].type must be one of"),
    ],
)
def test_what_cannot_be_mapped_is_named_and_stops(tmp_path: Path, members: dict[str, Any], line: str) -> None:
    workspace = read(tmp_path, **members)
    (found,) = workspace.unmapped
    assert found.startswith(line)
    with pytest.raises(Unmapped, match="allow-unmapped") as refused:
        check_mapped(workspace, allow=False)
    assert refused.value.details == {"unmapped": [found]}
    check_mapped(workspace, allow=True)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"name": 3}, "wrangler.json: name must be text, not 3"),
        ({"main": None}, "wrangler.json: main is required"),
        ({"main": "../other/index.ts"}, "wrangler.json: main leads out of the project"),
        ({"vars": []}, "wrangler.json: vars must be a table, not a list"),
        ({"kv_namespaces": {"binding": "A"}}, "kv_namespaces must be a list, not a table"),
        ({"kv_namespaces": ["A"]}, r"kv_namespaces\[0\] must be a table, not 'A'"),
        ({"d1_databases": [{"database_name": "a"}]}, r"d1_databases\[0\].binding is required"),
        ({"triggers": {"crons": [5]}}, r"triggers.crons must be a list of text, and \[0\] is 5"),
        ({"define": {"A": 1}}, "define.A must be text, not 1"),
        ({"d1_databases": [{"binding": "A", "migrations_dir": "../../x"}]}, "d1_databases leads out of the project"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, members: dict[str, Any], said: str) -> None:
    with pytest.raises(WorkspaceError, match=said):
        read(tmp_path, **members)


def test_configuration_that_is_code_is_recognized_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "cloudflare.config.ts").write_text("throw 1")
    with pytest.raises(Unmapped, match=r"cloudflare.config.ts is code.*wrangler.jsonc"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]", "{a b}", "[" * 10_000, '{"name": NaN}', b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | bytes) -> None:
    (tmp_path / "wrangler.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(WorkspaceError, match=r"wrangler\.json"):
        load(tmp_path)
