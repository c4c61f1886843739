"""Who is there, within a budget."""

from __future__ import annotations

import json

import pytest

from isolet.realtime import frames
from isolet.realtime.frames import Refused
from isolet.realtime.presence import TRACKED_MAX_BYTES, Presence


class Client:
    def __init__(self, id_: str) -> None:
        self.id = id_
        self.user_id: str | None = None

    def send(self, frame: bytes) -> None:
        raise AssertionError("presence sends nothing by itself")


def track_all(presence: Presence, clients: list[Client]) -> None:
    for client in clients:
        presence.track(client, {"text": "x" * 4_000})


def test_what_all_say_of_themselves_is_bounded() -> None:
    presence = Presence()
    clients = [Client(str(number)) for number in range(80)]
    for client in clients[:60]:
        presence.track(client, {"text": "x" * 4_000})
    with pytest.raises(Refused, match="Presence is full"):
        track_all(presence, clients)
    assert 60 < len(list(presence.state())) < 80
    assert sum(map(len, presence.state())) < TRACKED_MAX_BYTES * 1.1
    for client in clients:
        presence.leave(client)
    assert presence.state() == []
    for client in clients[:60]:
        presence.track(client, {"text": "x" * 4_000})


def test_to_track_again_replaces_and_a_stranger_changes_nothing() -> None:
    presence, client = Presence(), Client("a")
    assert presence.update(client, {"n": 1}) is None
    assert presence.leave(client) is None
    for number in range(1_000):
        presence.track(client, {"text": "x" * 1_000, "n": number})
    assert [json.loads(one)["metadata"]["n"] for one in presence.state()] == [999]
    assert list(presence.subscriptions) == [client]


def test_the_state_of_a_crowd_is_not_written_anew_for_each_who_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    presence, written = Presence(), 0
    dumps = json.dumps

    def counted(value: object, **options: object) -> str:
        nonlocal written
        text = dumps(value, **options)  # type: ignore[arg-type]
        written += len(text)
        return text

    monkeypatch.setattr(json, "dumps", counted)
    clients = [Client(str(number)) for number in range(1_000)]
    for client in clients:
        joined = presence.track(client, {"name": "\u00e9"})
        told = frames.presence_state(presence.state(), 7)
    assert written < 500 * len(clients)
    assert json.loads(joined) == {
        "type": "presence_join",
        "client_id": "999",
        "user_id": None,
        "metadata": {"name": "\u00e9"},
    }
    state = json.loads(told)
    assert (state["type"], state["id"], len(state["clients"])) == ("presence_state", 7, 1_000)
    assert state["clients"][0] == {"client_id": "0", "user_id": None, "metadata": {"name": "\u00e9"}}
