"""Chooses who answers: calls of functions take the short way, everything else goes to the management application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote

from isolet.api.altair.calls import PREFIX as ALTAIR
from isolet.api.altair.calls import AltairCalls
from isolet.api.asgi import Receive, Scope, Send
from isolet.api.butterbase.calls import PREFIX, ButterbaseCalls
from isolet.api.kapso.calls import OLDER, PLATFORM, KapsoCalls
from isolet.api.paths import mark_slashes
from isolet.api.public.calls import PREFIX as PUBLIC
from isolet.api.public.calls import PublicCalls

_KAPSO = {prefix.encode() + b"/functions": prefix for prefix in (PLATFORM, OLDER)}
_BUTTERBASE = PREFIX.encode() + b"/"
_ALTAIR = ALTAIR.encode()
_INVOKE = b"/invoke"


# What serves a raw path that begins with `/v1/`, if it is one of its own.
Finder: TypeAlias = Callable[[bytes], Callable[[Scope, Receive, Send], Awaitable[None]] | None]


class Gateway:
    """Plain ASGI. It only chooses who serves, so that nothing of it is left while a call runs."""

    def __init__(
        self,
        *,
        kapso: KapsoCalls,
        butterbase: ButterbaseCalls,
        altair: AltairCalls,
        public: PublicCalls,
        management: Any,
        beside: Sequence[Finder] = (),
    ) -> None:
        self._kapso = kapso
        self._butterbase = butterbase
        self._altair = altair
        self._public = public
        self._management = management
        self._beside = beside

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            path: bytes = scope["raw_path"]
            if self._public.is_own_host(scope["headers"]):
                return self._public.at_host(scope, receive, send)
            if path.startswith(PUBLIC):
                return self._public.below_prefix(scope, receive, send)
            if path.endswith(_INVOKE):
                place, _, function_id = path[: -len(_INVOKE)].rpartition(b"/")
                if (prefix := _KAPSO.get(place)) is not None:
                    return self._kapso.invoke(scope, receive, send, unquote(function_id.decode("ascii")), prefix)
            if path.startswith(_BUTTERBASE):
                if serve := self._butterbase.find(path):
                    return serve(scope, receive, send)
                for find in self._beside:
                    if serve := find(path):
                        return serve(scope, receive, send)
            if path.startswith(_ALTAIR) and self._altair.takes(scope):
                return self._altair.call(scope, receive, send)
            mark_slashes(scope)
        served: Awaitable[None] = self._management(scope, receive, send)
        return served
