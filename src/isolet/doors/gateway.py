"""The front door: calls of functions take the short way, everything else goes to the management application."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from isolet.doors.altair import PREFIX as ALTAIR
from isolet.doors.altair import AltairDoor
from isolet.doors.butterbase_call import PREFIX, ButterbaseCalls
from isolet.doors.http import Receive, Scope, Send
from isolet.doors.kapso import OLDER, PLATFORM, KapsoDoor

_KAPSO = frozenset((PLATFORM, OLDER))
_BUTTERBASE = PREFIX + "/"
_INVOKE = "/invoke"


class Gateway:
    """Plain ASGI. It only chooses who serves, so that nothing of it is left while a call runs."""

    def __init__(self, *, kapso: KapsoDoor, butterbase: ButterbaseCalls, altair: AltairDoor, management: Any) -> None:
        self._kapso = kapso
        self._butterbase = butterbase
        self._altair = altair
        self._management = management

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            path: str = scope["path"]
            if path.endswith(_INVOKE):
                prefix, _, function_id = path[: -len(_INVOKE)].partition("/functions/")
                if prefix in _KAPSO:
                    return self._kapso.invoke(scope, receive, send, function_id, prefix)
            if path.startswith(_BUTTERBASE) and (serve := self._butterbase.find(scope["raw_path"])):
                return serve(scope, receive, send)
            if path.startswith(ALTAIR) and self._altair.takes(scope):
                return self._altair.call(scope, receive, send)
        served: Awaitable[None] = self._management(scope, receive, send)
        return served
