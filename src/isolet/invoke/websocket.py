"""A call that goes on as a WebSocket: from the function's 101 to the end of either side, which ends the call."""

from __future__ import annotations

import contextlib

from isolet.errors import ClientDisconnected, ExecutionError
from isolet.invoke.call import Call
from isolet.wire.channel import Headers
from isolet.wire.tunnel import Tunnel
from isolet.wire.upgrade import Upgrade

_SWITCH: Headers = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]


async def splice(call: Call, headers: Headers, upgrade: Upgrade, *, idle_timeout_s: float) -> None:
    """Join the caller and the function until both are gone; however it ends, the call's record says it.

    Raises ExecutionError while the caller has no answer yet.
    """
    connection, instance = call.live_connection, call.live_instance
    tunnel = Tunnel(idle_timeout_s=idle_timeout_s)
    call.stop_watching()
    try:
        sent = connection.hand_over(tunnel.function)
    except OSError as exc:
        await call.fail(exc)
        return
    instance.tunnels.add(tunnel)
    try:
        upgrade.accept([*_SWITCH, *headers], tunnel.caller)
        tunnel.begin(sent)
        await tunnel.run()
        if tunnel.broken_by is tunnel.function:
            with contextlib.suppress(ExecutionError):
                await call.fail(connection.error or ConnectionResetError("the instance closed the connection"))
        elif tunnel.broken_by is None:
            call.finish(None)
    finally:
        instance.tunnels.discard(tunnel)
        call.finish(ClientDisconnected("the caller left without closing its WebSocket"))
