import threading
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolet.ids import is_uuid, new_id, to_ulid

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def test_an_id_is_a_uuid_of_version_7_with_the_time_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    after = time.time_ns() // 1_000_000

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    # An id that follows others closely may be ahead of the clock by a tick of a quarter of a microsecond each.
    assert before <= made.int >> 80 <= after + 1


def test_ids_sort_in_the_order_they_were_made() -> None:
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_ids_of_many_threads_are_all_different() -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def make(own: list[str]) -> None:
        own.extend(new_id() for _ in range(5_000))

    threads = [threading.Thread(target=make, args=(own,)) for own in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({identifier for own in made for identifier in own}) == 20_000


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("01890a5d-ac96-774b-bcce-b302099a8057", True),
        ("01890A5D-AC96-774B-BCCE-B302099A8057", True),
        ("01890a5dac96774bbcceb302099a8057", False),
        ("{01890a5d-ac96-774b-bcce-b302099a805}", False),
        ("01890a5d-ac96-774b-bcce-b302099a805", False),
        ("01890a5d-ac96-774b-bcce-b302099a8057\n", False),
        ("0189-0a5dac96-774b-bcce-b302099a8057", False),
        ("urn:uuid:890a5d-ac96-774b-bcce-b30209", False),
        ("", False),
    ],
)
def test_a_uuid_is_known_by_its_canonical_form(text: str, verdict: bool) -> None:
    assert is_uuid(text) is verdict


@pytest.mark.parametrize(
    ("identifier", "ulid"),
    [
        ("00000000-0000-0000-0000-000000000000", "00000000000000000000000000"),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
        # The example of the ULID specification: its time part stands for 1469918176385.
        ("01563df3-6481-0000-0000-000000000000", "01ARYZ6S410000000000000000"),
    ],
)
def test_a_ulid_shows_the_same_bits(identifier: str, ulid: str) -> None:
    assert to_ulid(identifier) == ulid


@given(st.uuids())
def test_a_ulid_can_be_read_back(identifier: uuid.UUID) -> None:
    value = 0
    for char in to_ulid(str(identifier)):
        value = value * 32 + _CROCKFORD.index(char)
    assert value == identifier.int


@given(st.uuids(), st.uuids())
def test_ulids_sort_as_their_uuids_do(one: uuid.UUID, other: uuid.UUID) -> None:
    assert (to_ulid(str(one)) < to_ulid(str(other))) == (str(one) < str(other))
