"""The requests that the API's description shows succeed as they stand there, and clients made from it work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.projects import Project, new_project
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.workflows import WorkflowsApi, a_line, a_node

ROOT = Path(__file__).parents[2]
CODE = "export default { fetch: () => new Response('Hello') };"
# What has to be known: the reader puts a key or a token of their own there.
OWN = "…"
# These bring an archive of the project's own making.
WITHOUT_EXAMPLE = {("post", "/isolet/v1/projects/{slug}/restore")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of their own: examples name a project, and change the master key."""
    with Server(tmp_path_factory.mktemp("described") / "data", callback_http="true") as server:
        yield server


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    with server.client() as root:
        described: dict[str, Any] = root.get("/openapi.json").json()
    return described


class World:
    """What the examples speak of. What some of them use up is made anew for each."""

    def __init__(self, project: Project, space: str) -> None:
        self.project, self.space = project, space
        self.workflows = WorkflowsApi(project.client)
        body = {"code": CODE, "access": "public"}
        path = f"/isolet/v1/projects/{project.slug}/functions/hello?wait=60"
        self.function: dict[str, Any] = project.client.put(path, json=body).json()
        assert self.function["status"] == "deployed"
        hears = {"name": "hears", "code": CODE, "trigger": {"type": "websocket", "config": {"event": "move"}}}
        assert project.client.post(f"/v1/{project.slug}/functions", json=hears).is_success
        tool = {"tool": {"description": "Says hello"}}
        assert project.client.patch(f"/isolet/v1/functions/{self.function['id']}", json=tool).status_code == 200

    def filled(self, method: str, path: str) -> str:
        """The path with values for its parameters."""
        return re.sub(r"{(\w+)}", lambda found: self._value(found[1], method, path), path)

    def _value(self, parameter: str, method: str, path: str) -> str:
        fixed = {
            "slug": self.project.slug,
            "app_id": self.project.slug,
            "space": self.space,
            "function_id": self.function["id"],
            "name": "hello",
            "secret_name": "API_KEY",
            "key": "greeting",
        }
        return str(fixed.get(parameter) or getattr(self, parameter)(method, path))

    def workflow_id(self, method: str, path: str) -> str:
        active = path.endswith("/executions")
        return str(self._workflow(active)["id"])

    def _workflow(self, active: bool) -> Any:
        return self.workflows.create(uuid.uuid4().hex, a_line(a_node("wait", "wait_for_response")), active=active)

    def execution_id(self, method: str, path: str) -> str:
        workflow = self._workflow(active=True)
        start = f"/isolet/v1/projects/{self.project.slug}/flows/{workflow['id']}/executions"
        made = self.project.client.post(start, json={}).json()["id"]
        self._wait(made, "waiting")
        if path.endswith("/retry"):
            self.project.client.post(f"/isolet/v1/executions/{made}/cancel")
            self._wait(made, "ended")
        return str(made)

    def _wait(self, execution_id: str, status: str) -> None:
        path = f"/isolet/v1/executions/{execution_id}"
        wait_until(lambda: self.project.client.get(path).json()["status"] == status, what=f"an execution {status}")

    def workflow_trigger_id(self, method: str, path: str) -> str:
        trigger = {"trigger": {"trigger_type": "project_event", "event_name": "order.sent"}}
        return str(
            self.workflows("POST", f"/workflows/{self._workflow(False)['id']}/triggers", trigger, status=201)["id"]
        )

    def schedule_id(self, method: str, path: str) -> str:
        made = self.project.client.post(
            f"/isolet/v1/functions/{self.function['id']}/schedules", json={"cron": "0 9 * * 1-5"}
        )
        return str(made.json()["id"])


@pytest.fixture(scope="module")
def worlds(server: Server) -> Iterator[tuple[World, World]]:
    """Both bases of Kapso's have the same examples, and a project does not take their names twice."""
    with server.client() as root, ExitStack() as stack:
        first, older, space = [stack.enter_context(new_project(server, root)) for _ in range(3)]
        yield World(first, space.slug), World(older, space.slug)


def bodies(document: dict[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    """Of each operation that has one: method, path, media type and the description of its content."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
                yield method, path, media_type, content


def sent(media_type: str, example: Any) -> dict[str, Any]:
    if media_type == "application/json":
        return {"json": example}
    content = {"headers": {"content-type": media_type}}
    return {"data": example, **content} if isinstance(example, dict) else {"content": example, **content}


def test_every_operation_with_a_body_shows_one(document: dict[str, Any]) -> None:
    without = {(method, path) for method, path, _, content in bodies(document) if "example" not in content}
    assert without == WITHOUT_EXAMPLE


def test_every_example_succeeds_as_it_is_shown(
    document: dict[str, Any], worlds: tuple[World, World], server: Server
) -> None:
    failed = []
    with server.client() as root:
        for method, path, media_type, content in bodies(document):
            if "example" in content:
                world = worlds[path.startswith("/api/")]
                # Kapso's routes have no project in their paths: the key says which.
                client = world.project.client if path.startswith(("/platform/", "/api/")) else root
                example = json.loads(json.dumps(content["example"]).replace(json.dumps(OWN)[1:-1], server.root_key))
                reply = client.request(method.upper(), world.filled(method, path), **sent(media_type, example))
                if not 200 <= reply.status_code < 300:
                    failed.append(f"{method} {path}: {reply.status_code} {reply.text[:300]}")
    assert failed == []


def test_every_operation_has_a_summary_and_a_description(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for part in ("summary", "description"):
                assert operation.get(part), f"{method} {path} has no {part}"


def test_schemas_have_the_names_of_their_models_and_operations_those_of_the_client(document: dict[str, Any]) -> None:
    assert [name for name in document["components"]["schemas"] if "__" in name] == []
    ids = {one["operationId"] for path in document["paths"].values() for one in path.values()}
    assert {"functions_put_named", "master_key_rotate", "kv_put"} < ids


TYPESCRIPT = """
import createClient from "openapi-fetch";
import type { paths } from "./isolet";

const [baseUrl, key, slug] = process.argv.slice(2);
const isolet = createClient<paths>({ baseUrl, headers: { "X-API-Key": key } });
const path = { slug, name: "from-typescript" };
const code = "export default { fetch: () => new Response('Hello') };";
const made = await isolet.PUT("/isolet/v1/projects/{slug}/functions/{name}", {
  params: { path, query: { wait: 60 } },
  body: { code, access: "public" },
});
const version: number | null | undefined = made.data?.version;
const missing = await isolet.GET("/isolet/v1/projects/{slug}/functions/{name}", {
  params: { path: { slug, name: "none" } },
});
console.log(made.data?.status, version, missing.response.status);
"""
# Each is a mistake that the types must find.
MISTAKES = """
import createClient from "openapi-fetch";
import type { paths } from "./isolet";

const isolet = createClient<paths>({ baseUrl: "" });
// @ts-expect-error: there is no such operation
await isolet.GET("/isolet/v1/projects/{slug}/nothing", { params: { path: { slug: "a" } } });
// @ts-expect-error: `slug` is missing
await isolet.GET("/isolet/v1/projects/{slug}", {});
// @ts-expect-error: a name is text
await isolet.POST("/isolet/v1/projects", { body: { slug: 5 } });
// @ts-expect-error: `role` is missing
await isolet.POST("/isolet/v1/projects/{slug}/keys", { params: { path: { slug: "a" } }, body: { name: "a" } });
"""


def run(*command: str, folder: Path, **variables: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def node(program: str, *arguments: str, folder: Path) -> str:
    return run("node", str(ROOT / "node_modules" / program), *arguments, folder=folder)


def test_a_typescript_client_is_generated_compiles_and_works(
    document: dict[str, Any], worlds: tuple[World, World], server: Server, tmp_path: Path
) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    node("openapi-typescript/bin/cli.js", "openapi.json", "-o", "isolet.ts", folder=tmp_path)
    (tmp_path / "client.ts").write_text(f"declare const process: {{ argv: string[] }};\n{TYPESCRIPT}")
    (tmp_path / "mistakes.ts").write_text(MISTAKES)
    options = ["--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"]
    # The declarations of libraries are their makers'; what was generated is no declaration file, and is checked.
    options += ["--lib", "es2022,dom,dom.iterable", "--noEmit", "--skipLibCheck"]
    node("typescript/bin/tsc", *options, "client.ts", "mistakes.ts", folder=tmp_path)
    (esbuild,) = (ROOT / "node_modules/@esbuild").glob("*/bin/esbuild")
    run(str(esbuild), "client.ts", "--bundle", "--format=esm", "--outfile=client.mjs", folder=tmp_path)
    told = run("node", "client.mjs", server.url, server.root_key, worlds[0].project.slug, folder=tmp_path)
    assert told == "deployed 1 404\n"


PYTHON = """
import sys
from generated import AuthenticatedClient
from generated.api.functions import functions_get_named, functions_put_named
from generated.models import FunctionsPutNamedFunctionDefinition as FunctionDefinition

url, key, slug = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=key, prefix="", auth_header_name="X-API-Key")
code = "export default { fetch: () => new Response('Hello') };"
made = functions_put_named.sync(slug, "from-python", client=client, body=FunctionDefinition(code=code), wait=60)
missing = functions_get_named.sync_detailed(slug, "none", client=client)
print(made.status, made.version, int(missing.status_code))
"""
# It has no types for these; they are sent as they are. Nobody reads the code here: it is not formatted.
OPTIONS = """
post_hooks: []
content_type_overrides:
  application/sql: application/octet-stream
  application/x-tar: application/octet-stream
  image/svg+xml: application/octet-stream
"""


def test_a_python_client_is_generated_compiles_and_works(
    document: dict[str, Any], worlds: tuple[World, World], server: Server, tmp_path: Path
) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    (tmp_path / "config.yaml").write_text(OPTIONS)
    packages = ROOT / ".venv/generator"
    arguments = ["generate", "--path", "openapi.json", "--output-path", "generated", "--meta", "none"]
    arguments += ["--config", "config.yaml", "--fail-on-warning"]
    path = f"{packages / 'bin'}:{os.environ['PATH']}"
    run(sys.executable, "-m", "openapi_python_client", *arguments, folder=tmp_path, PYTHONPATH=str(packages), PATH=path)
    run(sys.executable, "-m", "compileall", "-q", "generated", folder=tmp_path)
    told = run(
        sys.executable, "-c", PYTHON, server.url, server.root_key, worlds[0].project.slug,
        folder=tmp_path, PYTHONPATH=f"{packages}:{tmp_path}",
    )  # fmt: skip
    assert told == "deployed 1 404\n"
