"""One run: clients post, the server and its children are killed at random moments and started again."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil
from msgspec import Struct

from tests.support.altair import Altair
from tests.support.receiver import Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until

CODE = "export default async (request) => new Response(await request.text());"
_CLIENTS = 4
_SETTINGS = {
    "egress_allow": "127.0.0.0/8",
    "callback_schedule_s": "0" + ",0.5" * 40,
    "callback_timeout_s": "5",
    "drain_timeout_s": "5",
    # Kills come in a row here, and are no call's fault.
    "job_crash_limit": "0",
}


class Outcome(Struct, frozen=True, kw_only=True):
    """`unknown` are callbacks of calls whose 202 never reached the client: kept, and rightly run."""

    kills: int
    accepted: int
    delivered: int
    duplicates: int
    unknown: int
    lost: Sequence[str]
    mismatched: Sequence[str]
    not_succeeded: Sequence[str]

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.accepted} accepted, {self.delivered} calls called back, {self.duplicates} "
            f"duplicate callbacks, {self.unknown} callbacks of calls whose 202 was lost, {len(self.lost)} lost, "
            f"{len(self.mismatched)} under another id"
        )


class _Client:
    """Posts numbered calls until it is told to stop; knows only what it got a 202 for."""

    def __init__(self, name: str, port: int, key: str, callback: str, stop: threading.Event, *, pause_s: float) -> None:
        self.accepted: dict[str, str] = {}
        self._name, self._callback, self._stop, self._pause_s = name, callback, stop, pause_s
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": key}, timeout=5, trust_env=False
        )
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        number = 0
        with self._client as client:
            while not self._stop.wait(self._pause_s):
                number += 1
                body = f"{self._name}-{number}"
                try:
                    reply = client.post(
                        "/spaces/default/functions/echo/async-invoke",
                        content=body,
                        headers={"X-Callback-Url": self._callback},
                    )
                except httpx.TransportError:
                    self._stop.wait(0.01)
                    continue
                if reply.status_code == 202:
                    self.accepted[body] = reply.headers["x-invocation-id"]


def run(folder: Path, *, kills: int, seed: int, longest_s: float = 1.5, pause_s: float = 0) -> Outcome:
    """Kill that often, then let everything finish and compare what was accepted with what arrived.

    `pause_s` is the time that a client waits after each call.
    """
    chance = random.Random(seed)
    port, stop = _free_port(), threading.Event()
    clients: list[_Client] = []
    with Receiver() as receiver:
        server = _start(folder, port)
        try:
            with server.client() as root:
                Altair(root).running("echo", CODE)
            key = server.root_key
            clients = [_Client(str(n), port, key, receiver.url, stop, pause_s=pause_s) for n in range(_CLIENTS)]
            for _ in range(kills):
                time.sleep(chance.uniform(0.05, longest_s))
                _kill(server)
                server = _start(folder, port)
            stop.set()
            for client in clients:
                client.thread.join(30)
            accepted = {body: call_id for client in clients for body, call_id in client.accepted.items()}
            return _compare(server, receiver, accepted, kills)
        finally:
            stop.set()
            with contextlib.suppress(psutil.NoSuchProcess):
                _kill(server)


def _compare(server: Server, receiver: Receiver, accepted: dict[str, str], kills: int) -> Outcome:
    def missing() -> set[str]:
        return accepted.keys() - {delivery.body.decode() for delivery in list(receiver.deliveries)}

    with contextlib.suppress(AssertionError):
        wait_until(lambda: not missing(), timeout_s=60)
    seen: Counter[str] = Counter()
    ids: dict[str, set[str]] = {}
    for delivery in list(receiver.deliveries):
        body = delivery.body.decode()
        seen[body] += 1
        ids.setdefault(body, set()).add(delivery.headers["webhook-id"])
    with server.client() as root:
        altair = Altair(root)
        ended = {body: altair.ended(call_id)["status"] for body, call_id in accepted.items()}
    return Outcome(
        kills=kills,
        accepted=len(accepted),
        delivered=len(seen),
        duplicates=sum(seen.values()) - len(seen),
        unknown=len(seen.keys() - accepted.keys()),
        lost=sorted(missing()),
        mismatched=sorted(body for body, call_id in accepted.items() if ids.get(body, {call_id}) != {call_id}),
        not_succeeded=sorted(body for body, status in ended.items() if status != "succeeded"),
    )


def _start(folder: Path, port: int) -> Server:
    return Server(folder / "data", "--port", str(port), **_SETTINGS).wait_ready()


def _kill(server: Server) -> None:
    """SIGKILL to the server and everything below it. The server first: it would tell callers that its child ended."""
    tree = [psutil.Process(server.process.pid), *server.children()]
    for process in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    server.wait(10)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
