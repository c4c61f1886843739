"""The rules by which an instance is ended, asked and held back, as pure functions of what was measured.

No clock and no I/O: every time is loop time in seconds that the caller measured. `guard.py` measures and acts.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from isolet.domain.kills import KillReport, Limit
from isolet.domain.limits import Limits

# A breach of memory is ended within 200 ms: four looks.
LOOK_EVERY_S = 0.05
# After so much processor time an instance shows that its loop turns, however long it took to get that.
_UNPROVEN_S = 0.035
# An instance is short of time when answers take so long on average and it has all of a core: with less, the calls wait
# elsewhere, and another instance would only cost more.
_LAG_S = 0.02
_FULL_SHARE = 0.9
_STALLED_S = 0.1
# So much processor time without an answer: others go first until it answers.
_STUCK_MS = 50
# Over its limit an instance has this long to collect its garbage, unless it is far over.
_OVER_S = 0.1
_FAR_OVER = 1.5
# What is more than this between two looks is looked at closely, call or none.
_GROWTH_BYTES = 1024 * 1024
# Moving averages over some five looks or answers.
_NEWEST = 0.2
# Looks are further apart; a share of no time at all would be none.
_TICK_S = 0.001
_MB = 1024 * 1024


class Sample(Struct, frozen=True, kw_only=True):
    """One look at an instance.

    `cpu_s` is its processor time so far, `memory_bytes` what it holds more than when it had started, and `replied_at_s`
    when the last reply of a call was complete.
    """

    at_s: float
    cpu_s: float
    memory_bytes: int = 0
    replied_at_s: float = 0.0


class Question(Struct, frozen=True, kw_only=True):
    """Whether the loop turns was asked. Processor time without an answer counts from `since_s` and `cpu_s` on."""

    since_s: float
    cpu_s: float


class Vitals(Struct, frozen=True, kw_only=True):
    """What is remembered of an instance from one look to the next.

    `lag_s` is how long answers take on average, `share` the part of a processor that it has. `unproven_s` is the
    processor time since it last answered. `over_since_s` is when its memory was first over the limit. The next
    collection is due over `collect_from_bytes`.
    """

    looked_at_s: float
    cpu_s: float
    memory_bytes: int = 0
    lag_s: float = 0.0
    share: float = 0.0
    unproven_s: float = 0.0
    question: Question | None = None
    stalled: bool = False
    collecting: bool = False
    collect_from_bytes: int = 0
    over_since_s: float | None = None
    grows: bool = False

    @property
    def is_short_of_time(self) -> bool:
        return self.stalled or (self.lag_s > _LAG_S and self.share > _FULL_SHARE)

    @property
    def is_restless(self) -> bool:
        """Whether it has to be looked at closely, though it may run no call: it grows, or has not answered."""
        return self.question is not None or self.over_since_s is not None or self.grows


class Breach(Struct, frozen=True, kw_only=True):
    """A limit that is exceeded, in ms for CPU time and in MiB for memory."""

    limit: Limit
    allowed: int
    used: int

    def report(self, at_ms: int) -> KillReport:
        """Processor time counts while the loop does not turn, so such an instance is stuck."""
        return KillReport(
            limit=self.limit, at_ms=at_ms, allowed=self.allowed, used=self.used, stuck=self.limit is Limit.CPU
        )


class Verdict(Struct, frozen=True, kw_only=True):
    """What follows from a look: the next vitals, and what is to be done. `breach` ends the instance.

    `ask` sends it a probe, `collect` asks it to collect its garbage, and `give_way` lowers its priority.
    """

    vitals: Vitals
    breach: Breach | None = None
    ask: bool = False
    collect: bool = False
    give_way: bool = False


def judge(vitals: Vitals, sample: Sample, limits: Limits) -> Verdict:
    """What to do about an instance, by its vitals so far and a new look at it."""
    worked_s = sample.cpu_s - vitals.cpu_s
    share = worked_s / max(sample.at_s - vitals.looked_at_s, _TICK_S)
    collect = _must_collect(vitals, sample, limits)
    # Made once for each look: there are many.
    seen = Vitals(
        looked_at_s=sample.at_s,
        cpu_s=sample.cpu_s,
        memory_bytes=max(sample.memory_bytes, 0),
        lag_s=vitals.lag_s if vitals.question else vitals.lag_s * (1 - _NEWEST),
        share=vitals.share + (share - vitals.share) * _NEWEST,
        unproven_s=vitals.unproven_s + worked_s,
        question=vitals.question,
        stalled=vitals.stalled,
        collecting=collect or vitals.collecting,
        collect_from_bytes=vitals.collect_from_bytes,
        over_since_s=_over_since_s(vitals, sample, limits),
        grows=sample.memory_bytes > vitals.memory_bytes + _GROWTH_BYTES,
    )
    breach = _memory_breach(seen, sample, limits)
    if breach is not None:
        return Verdict(vitals=seen, breach=breach)
    if seen.question is not None:
        return _judge_silence(seen, seen.question, sample, limits, collect=collect)
    if seen.unproven_s <= _UNPROVEN_S:
        return Verdict(vitals=seen, collect=collect)
    # Of one that was left alone since it had no calls, only the last moments say something.
    since_s = max(vitals.looked_at_s, sample.at_s - 2 * LOOK_EVERY_S)
    asked = replace(seen, lag_s=vitals.lag_s, question=Question(since_s=since_s, cpu_s=vitals.cpu_s))
    return Verdict(vitals=asked, ask=True, collect=collect)


def answered(vitals: Vitals, lag_s: float | None) -> Vitals:
    """After a probe came back in `lag_s`, or failed (None)."""
    vitals = replace(vitals, question=None, stalled=False)
    if lag_s is None:
        return vitals
    return replace(vitals, unproven_s=0.0, lag_s=vitals.lag_s + (lag_s - vitals.lag_s) * _NEWEST)


def collected(vitals: Vitals, left_bytes: int, limits: Limits) -> Vitals:
    """After a collection, or one that failed: so much memory is in use now."""
    limit = limits.memory_limit_mb * _MB
    # The next time when a sixth of the limit has gathered again, or close to the limit.
    return replace(vitals, collecting=False, collect_from_bytes=min(left_bytes + limit // 6, limit * 19 // 20))


def at_deadline(*, answers: bool, allowed_ms: int, used_ms: int, at_ms: int) -> KillReport:
    """What the record says of a call whose time is over. An instance that does not answer is stuck, and is ended."""
    # Timers may fire a millisecond early.
    return KillReport(
        limit=Limit.TIME, at_ms=at_ms, allowed=allowed_ms, used=max(used_ms, allowed_ms), stuck=not answers
    )


def _over_since_s(vitals: Vitals, sample: Sample, limits: Limits) -> float | None:
    if sample.memory_bytes <= limits.memory_limit_mb * _MB:
        return None
    return sample.at_s if vitals.over_since_s is None else vitals.over_since_s


def _memory_breach(seen: Vitals, sample: Sample, limits: Limits) -> Breach | None:
    over_s = 0.0 if seen.over_since_s is None else sample.at_s - seen.over_since_s
    if sample.memory_bytes > _FAR_OVER * limits.memory_limit_mb * _MB or over_s > _OVER_S:
        return Breach(limit=Limit.MEMORY, allowed=limits.memory_limit_mb, used=sample.memory_bytes // _MB)
    return None


def _must_collect(vitals: Vitals, sample: Sample, limits: Limits) -> bool:
    """V8 leaves garbage that only its wrappers hold, so a collection is asked for as memory grows; what stays over the
    limit in spite of it is in use."""
    half = limits.memory_limit_mb * _MB // 2
    return not vitals.collecting and sample.memory_bytes > max(vitals.collect_from_bytes, half)


def _judge_silence(seen: Vitals, question: Question, sample: Sample, limits: Limits, *, collect: bool) -> Verdict:
    """The probe has not been answered. The loop turns all the same when replies come from it."""
    if sample.replied_at_s > question.since_s:
        anew = Question(since_s=sample.at_s, cpu_s=sample.cpu_s)
        return Verdict(vitals=replace(seen, question=anew, stalled=False), collect=collect)
    used_ms = round((sample.cpu_s - question.cpu_s) * 1000)
    breach = Breach(limit=Limit.CPU, allowed=limits.cpu_ms, used=used_ms) if used_ms > limits.cpu_ms else None
    if used_ms <= _STUCK_MS:
        return Verdict(vitals=seen, breach=breach, collect=collect)
    # One that gets no processor time is not stuck, whatever it takes to answer.
    stalled = sample.at_s - question.since_s > _STALLED_S
    vitals = seen if stalled == seen.stalled else replace(seen, stalled=stalled)
    return Verdict(vitals=vitals, breach=breach, give_way=True, collect=collect)
