"""What an instance prints, as console lines of its calls.

The wrapper writes them to standard output as RS + JSON `[call id, level, ms, text, stack, cut]`, and what it tells of a
call's outgoing requests as US + JSON (see `js/outgoing.js`). The function shares its process, so nothing here is
believed: a line counts only for a call that this instance runs, or ran lately, and its number, sizes, level and time
are bounded.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from isolet.domain.invocations import ConsoleLine, storable
from isolet.domain.limits import CONSOLE_MAX_BYTES, CONSOLE_MAX_CHARS, CONSOLE_MAX_LINES
from isolet.domain.outgoing import OUTGOING_MAX, OutgoingEvent, read_event
from isolet.domain.redaction import Redactor
from isolet.domain.source_lines import authored_stack, authored_text
from isolet.ids import InvocationId
from isolet.runtime.recent import Recent

__all__ = ["Console", "LineSink", "OwnLineSink", "Said"]

Said = ConsoleLine | OutgoingEvent
LineSink = Callable[[InvocationId, Said], None]
OwnLineSink = Callable[[ConsoleLine], None]
_LINE, _OUTGOING = 0x1E, 0x1F
_MARKS = (b'\x1e["', b'\x1f["')
_MARK_BYTES = 3
_ID_MAX_CHARS = 64
_LEVELS = frozenset({"log", "info", "warn", "error", "debug"})
# A line of the wrapper's: text and stack of `CONSOLE_MAX_CHARS`, each written in six bytes at most.
_LINE_MAX_BYTES = 12 * CONSOLE_MAX_CHARS + 1024
# Host and path are of so many characters at most, each in six bytes.
_OUTGOING_MAX_CHARS = 1_000
_OUTGOING_MAX_BYTES = 16_384
# So many calls that ended may still print: what `waitUntil` and timers do.
_RECENT_CALLS = 4_096
# Lines of no call: so many at once, and one more for each second that passes.
_OWN_LINES = 100
# What is read at once is taken on the loop when it is little, and in a thread otherwise.
_LITTLE_BYTES = 4_096
# Where many values may stand at one place of a text.
_LITTLE_SLOW_BYTES = 256
_WAITING_MAX_BYTES = 1024 * 1024
# So many lines are handed over in one turn of the loop; that much may hold twenty thousand.
_HANDED_AT_ONCE = 500
# What a place in a stack trace begins with, unless its letters are escaped.
_PLACE, _ESCAPE = b"function.js:", b"\\u"
_SMALL_MODULE_CHARS = 16_384
# An error of the function's own, whose reply was under way.
_BROKEN = re.compile(rb"Uncaught exception: .{0,200}?: failed: (?:remote\.)?jsg\.(.{1,4096})")
_ERROR_MAX_BYTES = 8_192
_BROKEN_KEPT = 16
_DROPPED = "[what this call printed from here on is not kept]"


class _Budget(Struct):
    """What a call may still print; `began_ms` is when it began here."""

    began_ms: int
    lines: int = CONSOLE_MAX_LINES
    size: int = CONSOLE_MAX_BYTES
    told: bool = False
    outgoing: int = 2 * OUTGOING_MAX


class _Raw(Struct, frozen=True):
    """A line as it was read; without `data` it says that further ones are dropped. Without `call` it is of no call."""

    call: InvocationId | None
    data: bytes
    since_ms: int


class Console:
    """`on_line` gets lines of calls, `on_own_line` those that no call can be told of."""

    def __init__(self, redactor: Redactor, module: str, *, on_line: LineSink, on_own_line: OwnLineSink) -> None:
        self._loop = asyncio.get_running_loop()
        self._redactor = redactor
        self._module = module
        self._on_line = on_line
        self._on_own_line = on_own_line
        # Most calls print nothing: until its first line there is only the time when a call began here.
        self._running: dict[InvocationId, _Budget | int] = {}
        self._recent = Recent[_Budget | int](_RECENT_CALLS)
        self._began_ms = _now_ms()
        self._own_lines = float(_OWN_LINES)
        self._own_at = self._loop.time()
        self._waiting: list[_Raw] = []
        self._waiting_bytes = 0
        self._busy = False
        self._error_rest = b""
        self._broken: deque[tuple[float, str]] = deque(maxlen=_BROKEN_KEPT)

    def begin(self, call: InvocationId) -> None:
        self._running[call] = self._recent.pop(call) or _now_ms()

    def end(self, call: InvocationId) -> None:
        """It may still print for a while."""
        budget = self._running.pop(call, None)
        if budget is not None:
            self._recent.put(call, budget)

    def _budget(self, call: InvocationId) -> _Budget | None:
        """That of a call which runs here, or ran lately."""
        budget = self._running.get(call) or self._recent.get(call)
        if not isinstance(budget, int):
            return budget
        made = _Budget(budget)
        if call in self._running:
            self._running[call] = made
        else:
            self._recent.pop(call)
            self._recent.put(call, made)
        return made

    def read(self, line: bytes) -> None:
        """A line of standard output. What is not for us, or too much, is dropped before it is looked at."""
        if not line.startswith(_MARKS) or len(line) > _LINE_MAX_BYTES:
            return
        raw = self._accepted(line)
        if raw is None:
            return
        if not self._waiting and not self._busy:
            self._loop.call_soon(self._take)
        self._waiting.append(raw)
        self._waiting_bytes += len(raw.data)

    def read_error(self, chunk: bytes) -> None:
        """A part of standard error, where the runtime says why the body of a reply broke off."""
        *lines, self._error_rest = (self._error_rest + chunk).split(b"\n")
        self._error_rest = self._error_rest[-_ERROR_MAX_BYTES:]
        for line in lines:
            if (found := _BROKEN.search(line[:_ERROR_MAX_BYTES])) is not None:
                self._broken.append((time.monotonic(), found[1].decode(errors="replace")))

    def take_broken(self, since_s: float) -> str | None:
        """Why a reply broke off, once for each, as far as the runtime said it since that time of `time.monotonic`."""
        while self._broken:
            said_at_s, said = self._broken.popleft()
            if said_at_s >= since_s:
                # The line ends where a value may go on: behind a line break of it, or behind what is read of a line.
                return self.redact(said, cut=True)
        return None

    def redact(self, text: str, *, cut: bool) -> str:
        return self._redactor.text(text, cut=cut)

    def redact_stack(self, stack: str, *, cut: bool) -> str:
        """A stack trace with its places in the author's text, without the values of secrets."""
        return authored_stack(self._module, self._redactor.text(stack, cut=cut))

    def _accepted(self, line: bytes) -> _Raw | None:
        """Whose line it is, when that one may print it."""
        start = _MARK_BYTES
        end = line.find(b'"', start, start + _ID_MAX_CHARS)
        if end == start:
            if len(self._running) != 1:
                return self._own(line) if line[0] == _LINE else None
            # The runtime ran a callback outside of its call; there is only one that it can be of.
            call = next(iter(self._running))
        else:
            call = InvocationId(line[start:end].decode(errors="replace"))
        budget = self._budget(call)
        if budget is None or budget.told:
            return None
        if line[0] == _OUTGOING:
            if budget.outgoing == 0 or len(line) > _OUTGOING_MAX_BYTES or self._waiting_bytes > _WAITING_MAX_BYTES:
                return None
            budget.outgoing -= 1
            return _Raw(call, line, budget.began_ms)
        budget.lines -= 1
        budget.size -= len(line)
        full = self._waiting_bytes > _WAITING_MAX_BYTES
        if budget.lines < 0 or budget.size < 0 or full:
            budget.told = True
            return _Raw(call, b"", budget.began_ms)
        return _Raw(call, line, budget.began_ms)

    def _own(self, line: bytes) -> _Raw | None:
        now = self._loop.time()
        self._own_lines = min(self._own_lines + now - self._own_at, _OWN_LINES)
        self._own_at = now
        if self._own_lines < 1 or self._waiting_bytes > _WAITING_MAX_BYTES:
            return None
        self._own_lines -= 1
        return _Raw(None, line, self._began_ms)

    def _take(self) -> None:
        """Read what waits: redacted before anybody sees it, and in the order in which it was printed."""
        lines, self._waiting = self._waiting, []
        size, self._waiting_bytes = self._waiting_bytes, 0
        little = _LITTLE_BYTES if self._redactor.is_quick else _LITTLE_SLOW_BYTES
        if size <= little and not self._has_places(lines):
            self._hand_over(self._parse_all(lines))
            return
        self._busy = True
        self._loop.run_in_executor(None, self._parse_all, lines).add_done_callback(self._taken)

    def _has_places(self, lines: Sequence[_Raw]) -> bool:
        """Whether places in a large module may have to be looked up: its mappings are read when they first are."""
        return len(self._module) > _SMALL_MODULE_CHARS and any(
            _PLACE in raw.data or _ESCAPE in raw.data for raw in lines
        )

    def _taken(self, done: asyncio.Future[list[tuple[InvocationId | None, Said]]]) -> None:
        self._hand_over_some([] if done.cancelled() else done.result(), 0)

    def _hand_over_some(self, lines: Sequence[tuple[InvocationId | None, Said]], start: int) -> None:
        following = start + _HANDED_AT_ONCE
        self._hand_over(lines[start:following])
        if following < len(lines):
            self._loop.call_soon(self._hand_over_some, lines, following)
            return
        self._busy = False
        if self._waiting:
            self._take()

    def _hand_over(self, lines: Sequence[tuple[InvocationId | None, Said]]) -> None:
        for call, said in lines:
            if call is not None:
                self._on_line(call, said)
            elif isinstance(said, ConsoleLine):
                self._on_own_line(said)

    def _parse_all(self, lines: Sequence[_Raw]) -> list[tuple[InvocationId | None, Said]]:
        parsed = ((raw.call, self._parse(raw)) for raw in lines)
        return [(call, line) for call, line in parsed if line is not None]

    def _parse(self, raw: _Raw) -> Said | None:
        if raw.data.startswith(b"\x1f"):
            return self._parse_outgoing(raw)
        if not raw.data:
            return ConsoleLine(level="warn", message=_DROPPED, at_ms=_now_ms(), ends=True)
        try:
            _, level, at_ms, message, stack, *rest = json.loads(raw.data[1:])
        except (ValueError, TypeError, RecursionError):
            return None
        if not isinstance(message, str):
            return None
        stack = stack[:CONSOLE_MAX_CHARS] if isinstance(stack, str) and stack else None
        cut = rest[:1] == [True] or len(message) > CONSOLE_MAX_CHARS
        whole_stack = stack is None or len(stack) < CONSOLE_MAX_CHARS // 2
        return ConsoleLine(
            level=level if isinstance(level, str) and level in _LEVELS else "log",
            message=storable(authored_text(self._module, self.redact(message[:CONSOLE_MAX_CHARS], cut=cut))),
            at_ms=_time(at_ms, raw.since_ms),
            stack=storable(self.redact_stack(stack, cut=not whole_stack)) if stack else None,
            cut=cut,
        )

    def _parse_outgoing(self, raw: _Raw) -> OutgoingEvent | None:
        try:
            _, number, at_ms, *told = json.loads(raw.data[1:])
        except (ValueError, TypeError, RecursionError):
            return None
        told = [self._shown(text) if isinstance(text, str) else text for text in told[:3]]
        return read_event(number, _time(at_ms, raw.since_ms), told)

    def _shown(self, text: str) -> str:
        return storable(self.redact(text, cut=len(text) >= _OUTGOING_MAX_CHARS))


def _time(value: Any, since_ms: int) -> int:
    """Within the time since `since_ms`."""
    now = _now_ms()
    known = isinstance(value, int) and not isinstance(value, bool)
    return min(max(value, since_ms), now) if known else now


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
