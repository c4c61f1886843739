"""The `isolet` command with an admin key of a project of the file's own, in which `hello` is deployed."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.isolet_command import Isolet
from tests.support.projects import Project, new_project
from tests.support.server import Server

# What comes back has what was sent; a terminal would obey the rest of it.
HELLO = """
export default {
  async fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    console.log("hello \\u001b]0;title\\u0007\\nof two lines");
    if (pathname === "/throw") throw new Error("broken \\u001b[2J");
    if (pathname === "/break") return new Response(new ReadableStream({
      start(control) { control.enqueue(new TextEncoder().encode("a part")); },
      async pull() { await scheduler.wait(50); throw new Error("gone"); },
    }));
    if (pathname === "/status") return new Response("no", { status: Number(search.slice(1)) });
    if (pathname === "/bytes") return new Response(new Uint8Array([0, 1, 255, 27, 10]));
    if (pathname === "/escapes") return new Response("\\u001b[31mred\\u001b[0m\\u009b\\u202e\\r\\nnext\\tß\\n");
    const headers = [["x-invocation-id", "made-up"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]];
    const sent = { method: request.method, pathname, search, type: request.headers.get("content-type"),
      own: request.headers.get("x-own"), body: await request.text(), greeting: env.GREETING ?? null };
    return Response.json(sent, { headers });
  },
};
"""


@pytest.fixture(scope="module")
def own_project(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        yield project


@pytest.fixture(scope="module")
def isolet(own_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Isolet:
    reply = own_project.client.put(
        f"/isolet/v1/projects/{own_project.slug}/functions/hello?wait=120", json={"code": HELLO}
    )
    assert reply.status_code == 201, reply.text
    folder = tmp_path_factory.mktemp("isolet")
    return Isolet(folder, ISOLET_URL=own_project.server.url, ISOLET_API_KEY=own_project.key("admin"))
