"""`isolet logs --follow` goes on when its server comes back."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

from tests.support.isolet_command import Isolet
from tests.support.server import ROOT_KEY, Server

CODE = "export default (request) => { console.log(new URL(request.url).pathname); return new Response(); }"


def test_a_stream_goes_on_when_the_server_is_back(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, server.client() as root:
        url = server.url
        body = {"code": CODE, "access": "public"}
        assert root.put("/isolet/v1/projects/default/functions/said?wait=120", json=body).status_code == 201
        isolet = Isolet(tmp_path, ISOLET_URL=url, ISOLET_API_KEY=ROOT_KEY)
        following = isolet.begin("logs", "said", "--follow")
        guard = threading.Timer(240, following.kill)
        guard.start()
        lines = Lines(following)
        lines.call_until(isolet, "/first")
        server.kill()
    with Server(tmp_path / "data", "--port", url.rpartition(":")[2]) as again:
        assert again.url == url
        lines.call_until(isolet, "/second")
    guard.cancel()
    following.kill()
    following.communicate()


class Lines:
    """Reads what a command prints, in a thread."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._seen = ""
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._arrived:
                self._seen += line
                self._arrived.notify_all()

    def call_until(self, isolet: Isolet, path: str) -> None:
        """Call the function at this path until a line says so: a call before the stream is there is not in it."""
        for _ in range(200):
            isolet("invoke", "said", "--path", path)
            with self._arrived:
                if self._arrived.wait_for(lambda: path in self._seen, timeout=0.5):
                    return
        raise AssertionError(f"no line of {path}: {self._seen}")
