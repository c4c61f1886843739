"""Who hears of a channel on this server, and in which order: every message once, by its number."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct, field

from isolet.domain.realtime import Message


class Member(Protocol):
    """A connection, as a channel sees it."""

    def send(self, frame: bytes) -> None: ...


class Subscription(Struct, eq=False):
    """`seq` is the last message that its member has. While `held` is a list, what comes waits for what was kept."""

    member: Member
    seq: int = 0
    held: list[tuple[int, bytes]] | None = field(default_factory=list)

    def send(self, seq: int, frame: bytes) -> None:
        if self.held is not None:
            self.held.append((seq, frame))
        elif seq > self.seq:
            self.seq = seq
            self.member.send(frame)

    def release(self, seq: int) -> None:
        """The member has all up to `seq`: it gets what came meanwhile, and what comes."""
        held, self.held, self.seq = self.held or [], None, seq
        for number, frame in held:
            self.send(number, frame)


class Topic:
    """A channel with subscribers. `last` is the number of its newest message that went out; None until it is read."""

    __slots__ = ("_early", "last", "name", "subscriptions")

    def __init__(self, name: str) -> None:
        self.name = name
        self.last: int | None = None
        self.subscriptions: dict[Member, Subscription] = {}
        self._early: dict[int, Message] = {}

    @property
    def has_gap(self) -> bool:
        """Whether a message waits for one before it."""
        return self.last is not None and bool(self._early)

    def take(self, message: Message) -> list[Message]:
        """A message came, from here or another server: those that may go out now, in order."""
        if self.last is not None and message.seq <= self.last:
            return []
        self._early[message.seq] = message
        return self._ready()

    def begin(self, head: int) -> list[Message]:
        """The newest message is known: those after it that came meanwhile."""
        if self.last is None:
            self.last = head
            self._early = {seq: one for seq, one in self._early.items() if seq > head}
        return self._ready()

    @property
    def newest(self) -> int:
        """The newest message that this server has heard of; 0 of none."""
        return max(self._early, default=self.last or 0)

    def pass_over_gaps(self, up_to: int) -> list[Message]:
        """What is missing up to a number is not kept any more; what is missing beyond it may still be read."""
        ready = self._ready()
        while self._early and self.last is not None and self.last < up_to:
            self.last = min(min(self._early) - 1, up_to)
            ready += self._ready()
        return ready

    def _ready(self) -> list[Message]:
        ready: list[Message] = []
        while self.last is not None and (following := self._early.pop(self.last + 1, None)) is not None:
            self.last += 1
            ready.append(following)
        return ready
