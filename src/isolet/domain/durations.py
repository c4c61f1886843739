"""Durations counted in buckets, each some 9 % wider than the one before, so that sums of counts give percentiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

_A_DOUBLING = 8
PERCENTILES = (50, 95, 99)


def bucket_of(duration_us: int) -> int:
    """Bucket `b` holds durations from 2^(b/8) µs up to 2^((b+1)/8) µs."""
    return int(math.log2(duration_us) * _A_DOUBLING) if duration_us > 1 else 0


def percentile(counts: Mapping[int, int], percent: float) -> float | None:
    """In µs, from counts by bucket, off by less than a bucket's width; None of nothing."""
    rank = sum(counts.values()) * percent / 100
    if not rank:
        return None
    below = 0
    for bucket in sorted(counts):
        if below + counts[bucket] >= rank:
            low, high = 2 ** (bucket / _A_DOUBLING), 2 ** ((bucket + 1) / _A_DOUBLING)
            return float(low + (high - low) * (rank - below) / counts[bucket])
        below += counts[bucket]
    raise AssertionError("a rank is at most the sum")


def exact_percentile(ordered_us: Sequence[int], percent: float) -> float | None:
    """In µs, of durations in their order: the least one that `percent` of them do not exceed."""
    if not ordered_us:
        return None
    return float(ordered_us[max(math.ceil(len(ordered_us) * percent / 100) - 1, 0)])
