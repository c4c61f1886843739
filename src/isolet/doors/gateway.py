"""The front door: calls of functions take the short way, everything else goes to the management application."""

from __future__ import annotations

from typing import Any

from isolet.doors.altair import PREFIX as ALTAIR
from isolet.doors.altair import AltairDoor
from isolet.doors.butterbase_call import PREFIX, ButterbaseCalls
from isolet.doors.http import Receive, Scope, Send
from isolet.doors.kapso import OLDER, PLATFORM, KapsoDoor

_KAPSO = ((PLATFORM + "/functions/", PLATFORM), (OLDER + "/functions/", OLDER))
_BUTTERBASE = PREFIX + "/"
_INVOKE = "/invoke"


class Gateway:
    """Plain ASGI."""

    def __init__(self, *, kapso: KapsoDoor, butterbase: ButterbaseCalls, altair: AltairDoor, management: Any) -> None:
        self._kapso = kapso
        self._butterbase = butterbase
        self._altair = altair
        self._management = management

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if path.startswith(_BUTTERBASE) and (serve := self._butterbase.find(scope["raw_path"])):
                await serve(scope, receive, send)
                return
            if path.endswith(_INVOKE):
                for start, prefix in _KAPSO:
                    if path.startswith(start):
                        function_id = path[len(start) : -len(_INVOKE)]
                        await self._kapso.invoke(scope, receive, send, function_id, prefix)
                        return
            if path.startswith(ALTAIR) and self._altair.takes(scope):
                await self._altair.call(scope, receive, send)
                return
        await self._management(scope, receive, send)
