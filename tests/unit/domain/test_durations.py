from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolet.domain.durations import bucket_of, exact_percentile, percentile


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=200), st.sampled_from([50, 95, 99]))
def test_a_percentile_from_buckets_is_within_a_bucket_of_the_exact_one(durations: list[int], percent: int) -> None:
    exact = exact_percentile(sorted(durations), percent)
    rough = percentile(Counter(map(bucket_of, durations)), percent)
    assert exact is not None
    assert rough is not None
    assert exact / 1.1 <= rough <= exact * 1.1


@pytest.mark.parametrize(("percent", "value"), [(50, 2.0), (95, 4.0), (25, 1.0)])
def test_an_exact_percentile_is_one_of_the_durations(percent: int, value: float) -> None:
    assert exact_percentile([1, 2, 3, 4], percent) == value


def test_nothing_has_no_percentile() -> None:
    assert percentile({}, 50) is None
    assert exact_percentile([], 50) is None
