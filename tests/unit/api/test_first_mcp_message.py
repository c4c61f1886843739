"""The first message of the Model Context Protocol costs the event loop no more than the next."""

from __future__ import annotations

import subprocess
import sys

_FIRST = """
import asyncio, time
from isolet.api.native.tools import _protocol

HEADERS = [(b"host", b"localhost"), (b"accept", b"application/json, text/event-stream"),
    (b"content-type", b"application/json")]
SCOPE = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": HEADERS}
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'

class Tools:
    async def listed(self, project_id):
        return []

async def main():
    async def gone():
        await asyncio.sleep(1000)
    took_s = []
    protocol = await asyncio.to_thread(_protocol)
    for _ in range(4):
        began_s = time.thread_time()
        told = await protocol.answer(Tools(), "p", dict(SCOPE), CALL, gone)
        took_s.append(time.thread_time() - began_s)
        assert told.status == 200, told
    assert took_s[0] < 10 * max(took_s[1:]), took_s

asyncio.run(main())
"""


def test_the_first_message_takes_no_longer_than_the_next() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FIRST], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
