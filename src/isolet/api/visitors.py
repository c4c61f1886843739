"""Who asks, as functions that events call are told of it."""

from __future__ import annotations

from isolet.api.asgi import Scope, told_to_function
from isolet.realtime.calls import Visitor
from isolet.wire.headers import get


def visitor_of(scope: Scope) -> Visitor:
    client = scope.get("client")
    return Visitor(
        host=get(scope["headers"], b"host") or b"localhost",
        scheme=scope["scheme"],
        told=told_to_function(scope),
        address=client[0] if client else None,
    )
