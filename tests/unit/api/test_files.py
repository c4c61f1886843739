"""Files that are made to be sent."""

from __future__ import annotations

from contextlib import AsyncExitStack, nullcontext
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from isolet.api.native.files import FileReply


@pytest.mark.parametrize("leaves", ["at once", "before it begins", "no"])
async def test_what_a_reply_holds_goes_with_it_whenever_its_client_leaves(tmp_path: Path, leaves: str) -> None:
    file, stack = tmp_path / "made", AsyncExitStack()
    gone: list[str] = []
    file.write_bytes(b"content")
    stack.callback(gone.append, "gone")
    reply = FileReply(file, stack, media_type="application/x-tar", headers={"x-more": "yes"})
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if leaves == "at once":
            raise OSError
        sent.append(message)

    scope = {"type": "http", "asgi": {"spec_version": "2.3" if leaves == "before it begins" else "2.4"}}
    with pytest.raises(ClientDisconnect) if leaves == "at once" else nullcontext():
        await reply(scope, receive, send)
    assert gone == ["gone"]
    if leaves == "no":
        assert dict(sent[0]["headers"])[b"content-length"] == b"7"
        assert b"".join(message["body"] for message in sent[1:]) == b"content"
