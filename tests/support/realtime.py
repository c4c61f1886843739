"""Live connections as clients open them, and the functions that their events call."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import OctKey
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.butterbase import Butterbase

SECRET = "a-shared-secret-of-forty-characters-or-so"
TIMEOUT_S = 120


class Live:
    """One connection, whose greeting was read unless `greeted` says that none comes."""

    def __init__(self, url: str, app: str, *, token: str | None = None, greeted: bool = True, **options: Any) -> None:
        query = f"?token={token}" if token is not None else ""
        known = {"open_timeout": TIMEOUT_S, "close_timeout": TIMEOUT_S, "proxy": None, "compression": None, **options}
        self._stack = ExitStack()
        dialed = connect(f"{url.replace('http', 'ws', 1).rstrip('/')}/v1/{app}/realtime{query}", max_size=None, **known)
        self.socket: ClientConnection = self._stack.enter_context(dialed)
        self.greeting = self.next() if greeted else {}

    def say(self, **frame: Any) -> None:
        self.socket.send(json.dumps(frame))

    def ask(self, **frame: Any) -> dict[str, Any]:
        self.say(**frame)
        return self.next()

    def next(self) -> dict[str, Any]:
        return dict(json.loads(self.socket.recv(timeout=TIMEOUT_S)))

    def until_closed(self) -> tuple[list[dict[str, Any]], int, str]:
        """What came before the close, its code and its reason."""
        came = []
        try:
            while True:
                came.append(self.next())
        except ConnectionClosed as exc:
            return (came, exc.rcvd.code, exc.rcvd.reason) if exc.rcvd is not None else (came, 1006, "")

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def token(**changes: object) -> str:
    now = int(time.time())
    claims = {"sub": "u-1", "iat": now, "exp": now + 600, **changes}
    return str(jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET)))


def trust_tokens(client: httpx.Client, project: str) -> None:
    reply = client.put(f"/isolet/v1/projects/{project}/auth", json={"hs256_secret": SECRET})
    assert reply.status_code == 200, reply.text


def set_rules(client: httpx.Client, project: str, **rules: Any) -> httpx.Response:
    return client.put(f"/isolet/v1/projects/{project}/realtime/settings", json=rules)


def publish(client: httpx.Client, project: str, channel: str, event: str, data: Any = None) -> int:
    body = {"channel": channel, "event": event, "data": data}
    reply = client.post(f"/isolet/v1/projects/{project}/realtime/publish", json=body)
    assert reply.status_code == 202, reply.text
    return int(reply.json()["seq"])


def deploy_event(butterbase: Butterbase, name: str, code: str, event: str | None = None, **settings: Any) -> None:
    """A function that an event calls."""
    config = {"event": event or name}
    body = {"name": name, "code": code, "trigger": {"type": "websocket", "config": config}, **settings}
    reply = butterbase.client.post(f"/v1/{butterbase.app}/functions", json=body)
    assert reply.status_code in (200, 201), reply.text
