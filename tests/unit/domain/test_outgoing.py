"""Requests of a call, put together from what was told of them."""

from isolet.domain.outgoing import OutgoingEvent, requests_of


def test_a_request_has_the_answer_of_its_number() -> None:
    events = [
        OutgoingEvent(1, 1_000, "GET", "one.test", "/a"),
        OutgoingEvent(2, 1_010, "POST", "two.test", "/b"),
        OutgoingEvent(2, 1_050, None, status=201),
        OutgoingEvent(1, 1_100, None),
    ]
    first, second = requests_of(events)
    assert (first.host, first.status, first.duration_ms) == ("one.test", None, 100)
    assert (second.method, second.host, second.path, second.status, second.duration_ms) == (
        *("POST", "two.test", "/b"),
        *(201, 40),
    )


def test_a_request_without_an_answer_has_no_duration() -> None:
    (request,) = requests_of([OutgoingEvent(1, 1_000, "GET", "one.test", "/")])
    assert (request.status, request.duration_ms) == (None, None)


def test_answers_of_nothing_and_second_answers_count_for_nothing() -> None:
    began = OutgoingEvent(1, 1_000, "GET", "one.test", "/")
    events = [OutgoingEvent(7, 1, None, status=200), began, OutgoingEvent(1, 900, None, status=200)]
    (request,) = requests_of([*events, OutgoingEvent(1, 5_000, None, status=500), began])
    assert (request.status, request.duration_ms) == (200, 0)
