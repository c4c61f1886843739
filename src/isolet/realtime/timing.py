"""When a connection is told something unasked, and when it is too much or too quiet. No clock: moments are given.

Moments are seconds that never go back.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

HEARTBEAT_S = 30.0
WARNING_S = 60.0
BURST_S = 5


class Due(Enum):
    """What is to be done at a moment."""

    HEARTBEAT = "heartbeat"
    TOKEN_EXPIRING = "token_expiring"  # noqa: S105
    TOKEN_ENDED = "token_ended"  # noqa: S105
    IDLE = "idle"


class Pace(Struct, frozen=True, kw_only=True):
    """`frames_s` a second for long, five seconds of them at once; `idle_s` without anything from the client."""

    frames_s: float
    idle_s: float


class Timing:
    def __init__(self, pace: Pace, now_s: float) -> None:
        self._pace = pace
        self._heartbeat_at = now_s + HEARTBEAT_S
        self._came_at = now_s
        self._frames = pace.frames_s * BURST_S
        self._counted_at = now_s
        self._ends_at: float | None = None
        self._warned = False

    def token_ends(self, at_s: float | None) -> None:
        """A token was taken, good until then; None for an identity that does not end."""
        self._ends_at = at_s
        self._warned = False

    def came(self, now_s: float) -> None:
        """Bytes came from the client."""
        self._came_at = now_s

    def takes_frame(self, now_s: float) -> bool:
        """Count a frame; False for one too many."""
        most = self._pace.frames_s * BURST_S
        self._frames = min(most, self._frames + (now_s - self._counted_at) * self._pace.frames_s)
        self._counted_at = now_s
        if self._frames < 1:
            return False
        self._frames -= 1
        return True

    def due(self, now_s: float) -> list[Due]:
        """All that is to be done by now, in order; each is told once."""
        if now_s >= self._came_at + self._pace.idle_s:
            return [Due.IDLE]
        found = []
        if now_s >= self._heartbeat_at:
            following = self._heartbeat_at + HEARTBEAT_S
            # Those that were missed while everything stood still are not made up for.
            self._heartbeat_at = following if following > now_s else now_s + HEARTBEAT_S
            found.append(Due.HEARTBEAT)
        if self._ends_at is not None and not self._warned and now_s >= self._ends_at - WARNING_S:
            self._warned = True
            found.append(Due.TOKEN_EXPIRING)
        if self._ends_at is not None and now_s >= self._ends_at:
            found.append(Due.TOKEN_ENDED)
        return found

    @property
    def next_at(self) -> float:
        """When `due` is to be asked again."""
        moments = [self._heartbeat_at, self._came_at + self._pace.idle_s]
        if self._ends_at is not None:
            moments.append(self._ends_at if self._warned else self._ends_at - WARNING_S)
        return min(moments)
