"""What follows from looks at an instance, in virtual time: no process, no waiting."""

import pytest
from msgspec.structs import replace

from isolet.domain.kills import Limit
from isolet.domain.limits import Limits
from isolet.runtime.judge import (
    LOOK_EVERY_S,
    Breach,
    Question,
    Sample,
    Verdict,
    Vitals,
    answered,
    at_deadline,
    collected,
    judge,
)

_MB = 1024 * 1024
LIMITS = Limits(cpu_ms=300, memory_limit_mb=64)


class Watched:
    """An instance as the guard sees it: `look` lets virtual time pass and judges what is there then."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self.now_s = 100.0
        self.cpu_s = 2.0
        self.memory_bytes = 0
        self.replied_at_s = 0.0
        self.vitals = Vitals(looked_at_s=self.now_s, cpu_s=self.cpu_s)

    def look(self, *, share: float = 0.0, after_s: float = LOOK_EVERY_S) -> Verdict:
        """`share` is the part of a processor that it got since."""
        self.now_s += after_s
        self.cpu_s += share * after_s
        sample = Sample(
            at_s=self.now_s, cpu_s=self.cpu_s, memory_bytes=self.memory_bytes, replied_at_s=self.replied_at_s
        )
        verdict = judge(self.vitals, sample, self.limits)
        self.vitals = verdict.vitals
        return verdict

    def answer(self, lag_s: float | None = 0.001) -> None:
        self.vitals = answered(self.vitals, lag_s)

    def spin(self, share: float = 1.0, looks: int = 1000) -> tuple[Breach | None, float]:
        """A busy loop until it is ended; which limit it exceeded, and after how much processor time."""
        began_s = self.cpu_s
        for _ in range(looks):
            verdict = self.look(share=share)
            if verdict.breach is not None:
                return verdict.breach, self.cpu_s - began_s
        return None, self.cpu_s - began_s


# CPU.


@pytest.mark.parametrize("share", [1.0, 0.3, 0.03])
def test_a_busy_loop_ends_soon_after_its_processor_time_however_little_it_gets(share: float) -> None:
    instance = Watched()
    breach, used_s = instance.spin(share)
    assert breach is not None
    assert (breach.limit, breach.allowed) == (Limit.CPU, 300)
    assert 300 < breach.used <= round(used_s * 1000)
    # It is seen within one look of its limit.
    assert used_s <= 0.3 + 2 * LOOK_EVERY_S


def test_a_busy_loop_with_threads_is_counted_by_the_time_of_all_of_them() -> None:
    instance = Watched()
    breach, used_s = instance.spin(share=4.0)
    assert breach is not None
    assert used_s <= 0.3 + 2 * 4 * LOOK_EVERY_S


def test_the_report_of_a_busy_loop_says_that_it_was_stuck() -> None:
    breach, _ = Watched().spin()
    assert breach is not None
    report = breach.report(at_ms=7)
    assert (report.limit, report.at_ms, report.allowed, report.stuck) == (Limit.CPU, 7, 300, True)
    assert report.used == breach.used


def test_work_without_end_is_allowed_while_the_loop_answers() -> None:
    instance = Watched()
    for _ in range(1000):
        verdict = instance.look(share=1.0)
        assert verdict.breach is None
        if verdict.ask:
            instance.answer()


def test_work_without_end_is_allowed_while_replies_come() -> None:
    instance = Watched()
    for _ in range(1000):
        # The probe is never answered, as when many calls are before it.
        assert instance.look(share=1.0).breach is None
        instance.replied_at_s = instance.now_s + 0.01


def test_replies_from_before_the_question_do_not_count() -> None:
    instance = Watched()
    instance.replied_at_s = instance.now_s
    breach, _ = instance.spin()
    assert breach is not None


def test_one_that_gets_no_processor_time_is_not_ended_however_long_it_takes() -> None:
    instance = Watched()
    instance.look(share=1.0)
    breach, _ = instance.spin(share=0.0, looks=10_000)
    assert breach is None
    assert not instance.vitals.stalled


def test_the_loop_is_asked_once_and_again_only_after_the_answer() -> None:
    instance = Watched()
    assert not instance.look(share=0.5).ask
    assert instance.look(share=0.5).ask
    assert instance.vitals.question is not None
    assert not instance.look(share=0.5).ask
    instance.answer()
    assert instance.vitals.question is None
    assert not instance.look(share=0.5).ask
    assert instance.look(share=0.5).ask


def test_a_probe_that_failed_leaves_the_processor_time_unproven() -> None:
    instance = Watched()
    assert instance.look(share=1.0).ask
    instance.answer(None)
    assert instance.look(share=0.0).ask


def test_processor_time_while_nobody_looked_closely_does_not_count() -> None:
    instance = Watched()
    verdict = instance.look(share=0.5, after_s=600.0)
    assert verdict.ask
    assert verdict.vitals.question == Question(since_s=instance.now_s - 2 * LOOK_EVERY_S, cpu_s=2.0)


def test_a_limit_that_was_raised_counts_at_the_next_look() -> None:
    instance = Watched(replace(LIMITS, cpu_ms=60_000))
    assert instance.spin(looks=100)[0] is None
    instance.limits = LIMITS
    assert instance.spin(looks=1)[0] is not None


# Ways in which an instance is held back.


def test_a_stuck_one_gives_way_and_takes_no_calls_until_it_answers() -> None:
    instance = Watched(replace(LIMITS, cpu_ms=60_000))
    verdicts = [instance.look(share=1.0) for _ in range(6)]
    assert [verdict.give_way for verdict in verdicts[:1]] == [False]
    assert verdicts[-1].give_way
    assert instance.vitals.stalled
    assert instance.vitals.is_short_of_time
    instance.answer()
    assert not instance.vitals.stalled
    assert not instance.look(share=0.0).give_way


def test_a_reply_shows_that_it_is_not_stalled_any_more() -> None:
    instance = Watched(replace(LIMITS, cpu_ms=60_000))
    instance.spin(looks=6)
    assert instance.vitals.stalled
    instance.replied_at_s = instance.now_s + 0.01
    instance.look(share=1.0)
    assert not instance.vitals.stalled


@pytest.mark.parametrize(("lag_s", "share", "is_short"), [(0.05, 1.0, True), (0.001, 1.0, False), (0.05, 0.5, False)])
def test_it_is_short_of_time_when_answers_take_long_and_it_has_all_of_a_processor(
    lag_s: float, share: float, is_short: bool
) -> None:
    instance = Watched()
    for _ in range(100):
        if instance.look(share=share).ask:
            instance.answer(lag_s)
    assert instance.vitals.is_short_of_time is is_short


def test_one_that_does_nothing_any_more_is_not_short_of_time_for_long() -> None:
    instance = Watched()
    for _ in range(100):
        if instance.look(share=1.0).ask:
            instance.answer(0.05)
    for _ in range(20):
        instance.look(share=0.0)
    assert not instance.vitals.is_short_of_time
    assert not instance.vitals.is_restless


# Memory.


def test_memory_within_its_limit_is_left_alone() -> None:
    instance = Watched()
    instance.memory_bytes = 64 * _MB
    for _ in range(100):
        assert instance.look().breach is None


def test_memory_over_its_limit_has_time_to_be_collected_and_ends_within_200_ms() -> None:
    instance = Watched()
    instance.memory_bytes = 65 * _MB
    over_at_s = instance.now_s
    assert instance.look().breach is None
    while (breach := instance.look().breach) is None:
        assert instance.now_s - over_at_s < 0.2
    assert breach == Breach(limit=Limit.MEMORY, allowed=64, used=65)
    assert 0.1 < instance.now_s - over_at_s <= 0.2 + 1e-6
    assert not breach.report(at_ms=1).stuck


def test_memory_far_over_its_limit_ends_at_once() -> None:
    instance = Watched()
    instance.memory_bytes = 97 * _MB
    verdict = instance.look()
    assert verdict.breach == Breach(limit=Limit.MEMORY, allowed=64, used=97)


def test_memory_that_a_collection_frees_in_time_is_no_breach() -> None:
    instance = Watched()
    for _ in range(50):
        instance.memory_bytes = 70 * _MB
        assert instance.look().breach is None
        assert instance.look().breach is None
        instance.memory_bytes = 10 * _MB
        assert instance.look().breach is None
    assert instance.vitals.over_since_s is None


def test_a_collection_is_asked_for_at_half_the_limit_and_one_at_a_time() -> None:
    instance = Watched()
    instance.memory_bytes = 32 * _MB
    assert not instance.look().collect
    instance.memory_bytes = 33 * _MB
    assert instance.look().collect
    assert not instance.look().collect


@pytest.mark.parametrize(
    ("left_mb", "next_mb"),
    # A sixth of the limit more, or just below the limit; never below half of it.
    [(1, 32), (30, 40 + 2 / 3), (63, 60.8)],
)
def test_the_next_collection_is_asked_for_when_garbage_has_gathered_again(left_mb: int, next_mb: float) -> None:
    instance = Watched()
    instance.memory_bytes = 40 * _MB
    assert instance.look().collect
    instance.vitals = collected(instance.vitals, left_mb * _MB, LIMITS)
    instance.memory_bytes = int((next_mb - 0.1) * _MB)
    assert not instance.look().collect
    instance.memory_bytes = int((next_mb + 0.1) * _MB)
    assert instance.look().collect


def test_one_that_holds_less_than_at_its_start_holds_nothing() -> None:
    instance = Watched()
    instance.memory_bytes = -5 * _MB
    assert instance.look().vitals.memory_bytes == 0


def test_one_that_grows_or_is_over_its_limit_or_was_asked_is_looked_at_closely() -> None:
    instance = Watched()
    instance.look()
    assert not instance.vitals.is_restless
    instance.memory_bytes = 2 * _MB
    assert instance.look().vitals.is_restless
    assert not instance.look().vitals.is_restless
    instance.memory_bytes = 65 * _MB
    instance.look()
    assert instance.look().vitals.is_restless
    asked = Watched()
    asked.look(share=1.0)
    assert asked.vitals.is_restless


def test_both_limits_at_once_are_told_as_memory() -> None:
    instance = Watched()
    instance.spin(looks=6)
    instance.memory_bytes = 200 * _MB
    instance.cpu_s += 10.0
    breach = instance.look().breach
    assert breach is not None
    assert breach.limit is Limit.MEMORY


# Deadlines.


@pytest.mark.parametrize("answers", [True, False])
def test_at_a_deadline_the_instance_is_stuck_when_it_does_not_answer(answers: bool) -> None:
    report = at_deadline(answers=answers, allowed_ms=500, used_ms=750, at_ms=9)
    assert (report.limit, report.allowed, report.used, report.at_ms) == (Limit.TIME, 500, 750, 9)
    assert report.stuck is not answers


def test_a_timer_that_fired_early_does_not_show_in_the_report() -> None:
    assert at_deadline(answers=True, allowed_ms=500, used_ms=499, at_ms=9).used == 500
