from structlog.testing import capture_logs

from isolet.listeners import Listeners


def test_each_listener_hears_of_each_change_in_the_order_that_they_were_added() -> None:
    heard: list[tuple[str, int]] = []
    listeners: Listeners[int] = Listeners(lambda change: heard.append(("first", change)))
    listeners.publish(1)
    listeners.add(lambda change: heard.append(("second", change)))

    listeners.publish(2)

    assert heard == [("first", 1), ("first", 2), ("second", 2)]


def test_a_listener_that_fails_is_logged_and_the_next_hears_of_the_change() -> None:
    heard: list[int] = []

    def fail(change: int) -> None:
        raise ValueError(f"cannot take {change}")

    listeners: Listeners[int] = Listeners(fail, heard.append)
    with capture_logs() as logs:
        listeners.publish(1)
        listeners.publish(2)

    assert heard == [1, 2]
    assert [(entry["event"], str(entry["exc_info"])) for entry in logs] == [
        ("listener failed", "cannot take 1"),
        ("listener failed", "cannot take 2"),
    ]
