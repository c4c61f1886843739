from isolet.wire.body_rate import BodyRate


def test_a_window_that_brought_too_little_is_too_slow() -> None:
    rate = BodyRate(window_s=30, least_bytes_s=1024)
    assert not rate.is_too_slow(29.9, 30 * 1024 - 1)
    assert round(rate.rest_s, 6) == 0.1
    assert rate.is_too_slow(0.1, 0)


def test_each_window_counts_anew() -> None:
    rate = BodyRate(window_s=30, least_bytes_s=1024)
    assert not rate.is_too_slow(30, 10_000_000)
    assert rate.rest_s == 30
    assert rate.is_too_slow(30, 30 * 1024 - 1)


def test_what_comes_at_once_takes_no_time_of_a_window() -> None:
    rate = BodyRate(window_s=30, least_bytes_s=1024)
    assert not any(rate.is_too_slow(0.0, 1) for _ in range(1000))
    assert rate.rest_s == 30
