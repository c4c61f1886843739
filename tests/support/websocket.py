"""WebSockets as clients open them, on the public route of the Butterbase API."""

from __future__ import annotations

from typing import Any

from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.sync.client import ClientConnection, connect

from tests.support.butterbase import Butterbase

ECHO = """
const kept = [];
async function grow() {
  for (;;) {
    kept.push(new Uint8Array(1 << 20).fill(1));
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

export default async function handler(req, ctx) {
  const { 0: client, 1: server } = new WebSocketPair();
  server.binaryType = "arraybuffer";
  server.accept();
  server.addEventListener("message", (event) => {
    if (event.data === "bye") server.close(4001, "as you wish");
    else if (event.data === "spin") for (;;);
    else if (event.data === "grow") grow();
    else if (event.data === "throw") throw new Error("no such message");
    else if (event.data === "who") server.send(JSON.stringify({ user: ctx.user, caller: ctx.caller.type,
      headers: Object.fromEntries(req.headers) }));
    else server.send(event.data);
  });
  server.addEventListener("close", (event) => console.log("closed", event.code, event.reason));
  return new Response(null, { status: 101, webSocket: client });
}
"""


def dial(butterbase: Butterbase, name: str, **options: Any) -> ClientConnection:
    base = str(butterbase.public.base_url).replace("http", "ws", 1).rstrip("/")
    # Without pings, as in `browser.py`.
    known = {"open_timeout": 60, "close_timeout": 60, "proxy": None, "ping_interval": None, **options}
    return connect(f"{base}/v1/{butterbase.app}/fn/{name}", **known)


def refused(butterbase: Butterbase, name: str, **options: Any) -> Response:
    """The plain reply to a handshake. Fails when it is accepted."""
    try:
        with dial(butterbase, name, **options):
            raise AssertionError("the WebSocket was accepted")
    except InvalidStatus as exc:
        return exc.response


def invocation_id(connection: ClientConnection) -> str:
    assert connection.response is not None
    return connection.response.headers["x-invocation-id"]


def record(butterbase: Butterbase, connection: ClientConnection) -> dict[str, Any]:
    """What is recorded of a connection that has ended; empty while it has not."""
    reply = butterbase.client.get(f"/isolet/v1/invocations/{invocation_id(connection)}")
    return dict(reply.json()) if reply.status_code == 200 else {}
