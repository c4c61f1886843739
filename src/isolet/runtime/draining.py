"""The end of an instance that takes no more calls: what it still does is finished first, within bounds."""

from __future__ import annotations

import asyncio
import contextlib

from isolet.errors import FunctionCrashed
from isolet.runtime.instance import Instance
from isolet.runtime.lifecycle import Event
from isolet.telemetry import get_logger

log = get_logger("runtime")

_BACKGROUND_S = 30.0
_PROBE_TIMEOUT_S = 2.0
_PROBE_INTERVAL_S = 0.1
# Longer than both sides of a WebSocket may take to close.
_CLOSE_TIMEOUT_S = 3.0
_REPLACED = "The call had not ended a while after another version, or other settings, took its version's place"


async def finish(instance: Instance) -> None:
    """Wait for the running calls, then for what they left to `waitUntil`, then stop."""
    try:
        while True:
            await _empty(instance)
            async with asyncio.timeout(_BACKGROUND_S):
                while await instance.probe(_PROBE_TIMEOUT_S):
                    await asyncio.sleep(_PROBE_INTERVAL_S)
            # A caller that waited for the start may have begun its call only now.
            if not instance.active:
                break
            instance.emptied.clear()
    except (TimeoutError, OSError) as exc:
        log.debug("instance stops with work left", release=instance.spec.release, error=str(exc))
    for connection in list(instance.calls):
        # Not that its process broke off: that is what is seen next.
        connection.abort(FunctionCrashed(_REPLACED))
    instance.happened(Event.EMPTIED)


async def _empty(instance: Instance) -> None:
    """Wait for the running calls; a WebSocket has no end of its own and is closed after the time of a call."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(instance.longest_ms / 1000 + 1):
            await instance.emptied.wait()
    instance.retire_tunnels()
    async with asyncio.timeout(_CLOSE_TIMEOUT_S if instance.tunnels else 0):
        await instance.emptied.wait()
