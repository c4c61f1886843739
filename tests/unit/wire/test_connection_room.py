"""Which connections yield their places to new ones."""

from __future__ import annotations

from dataclasses import dataclass

from isolet.wire.connection_room import ConnectionRoom


@dataclass(eq=False)
class Connection:
    peer_host: str
    idle_since: float
    closed: bool = False

    def close(self) -> None:
        self.closed, self.idle_since = True, 0.0


def test_the_address_with_most_idle_connections_yields_first_and_of_its_own_the_oldest() -> None:
    many = [Connection("10.0.0.1", since) for since in range(100, 0, -1)]
    few = [Connection("10.0.0.2", 0.5 + place) for place in range(10)]
    served = Connection("10.0.0.1", 0.0)
    room = ConnectionRoom()
    assert room.make([*many, *few, served], 110, 1000.0)
    assert [one.closed for one in many] == [False] * 36 + [True] * 64
    assert not any(one.closed for one in (*few, served))


def test_one_look_makes_room_for_many_and_a_look_for_nothing_is_not_repeated_at_once() -> None:
    room = ConnectionRoom()
    idle = [Connection("a", 1.0), Connection("a", 2.0)]
    assert room.make(idle, 1, 10.0)
    assert [one.closed for one in idle] == [True, True]
    idle += [Connection("a", 10.0, closed=False)]
    assert room.make(idle, 1, 10.0)
    assert not idle[2].closed, "two places had become free"
    served = [Connection("a", 0.0), Connection("a", 0.0)]
    assert not room.make(served, 1, 20.0)
    idle = [*served, Connection("a", 20.0)]
    assert not room.make(idle, 1, 20.05)
    assert room.make(idle, 1, 20.2)


def test_who_has_many_addresses_of_one_ipv6_network_yields_before_those_who_have_one_each() -> None:
    many = [Connection(f"2001:db8:0:1::{place:x}", 10.0 + place) for place in range(66)]
    others = [
        *(Connection(f"::ffff:10.0.0.{place}", 1.0) for place in range(70)),
        *(Connection(f"2001:db8:1:{place:x}::1", 1.0) for place in range(70)),
        Connection("fe80::1%eth0", 1.0),
    ]
    assert ConnectionRoom().make([*others, *many], 20, 1000.0)
    assert [one.closed for one in many] == [True] * 64 + [False] * 2
    assert not any(one.closed for one in others)
