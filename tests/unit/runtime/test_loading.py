"""When a module that still loads is given up."""

import pytest

from isolet.domain.limits import Limits
from isolet.runtime.loading import Progress, judge_loading, start_max_s

_MB = 1024 * 1024
LIMITS = Limits(cpu_ms=1000, memory_limit_mb=64)
TIMEOUT_S = 10.0


def progress(*, elapsed_s: float = 1.0, cpu_s: float = 0.1, memory_mb: int = 10, busy_s: float = 0.1) -> Progress:
    return Progress(elapsed_s=elapsed_s, cpu_s=cpu_s, memory_bytes=memory_mb * _MB, busy_s=lambda: busy_s)


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        # Twice its memory and 256 MB for address space; half a second for the runtime itself.
        (progress(memory_mb=385), "exceeded its memory limit of 64 MB as it loaded"),
        (progress(cpu_s=1.6), "used more than its CPU time of 1000 ms as it loaded"),
        (progress(elapsed_s=10.3), "did not load within 10 s"),
    ],
)
def test_a_module_is_given_up_for_what_it_takes(seen: Progress, text: str) -> None:
    failed = judge_loading(seen, LIMITS, TIMEOUT_S)
    assert failed is not None
    assert text in failed.message


@pytest.mark.parametrize(
    "seen",
    [
        progress(memory_mb=384),
        progress(cpu_s=1.5),
        progress(elapsed_s=10.0),
        # It was short of a processor, not idle.
        progress(elapsed_s=100.0, busy_s=95.0),
    ],
)
def test_a_module_may_go_on_up_to_its_limits_and_while_it_is_short_of_a_processor(seen: Progress) -> None:
    assert judge_loading(seen, LIMITS, TIMEOUT_S) is None


def test_threads_are_counted_only_once_the_time_is_over() -> None:
    def must_not_be_asked() -> float:
        raise AssertionError("it costs a file for each thread")

    early = Progress(elapsed_s=5.0, cpu_s=0.1, memory_bytes=0, busy_s=must_not_be_asked)
    assert judge_loading(early, LIMITS, TIMEOUT_S) is None


def test_a_start_ends_later_than_any_limit_of_its_module_would_end_it() -> None:
    assert start_max_s(LIMITS, TIMEOUT_S) > TIMEOUT_S + 1.5
