"""What every call works with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from isolet.clock import Clock
from isolet.invoke.watch import Watch
from isolet.observe.recorder import Recorder
from isolet.observe.redaction import Redaction
from isolet.routing.routes import Route
from isolet.runtime.pool import Pool
from isolet.runtime.spec import InstanceSpec
from isolet.tasks import Tasks


class CallServices(Struct, frozen=True, kw_only=True):
    """`on_call` hears that one begins to run on an instance.

    `reply_max_ms` is what a call with a caller may take in all.
    """

    loop: asyncio.AbstractEventLoop
    tasks: Tasks
    clock: Clock
    pool: Pool
    load_spec: Callable[[Route], Awaitable[InstanceSpec]]
    on_call: Callable[[], None]
    watch: Watch
    recorder: Recorder
    recording: Redaction
    reply_max_ms: int
