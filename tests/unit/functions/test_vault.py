import base64

import pytest

from isolet.errors import PlatformError, SettingsError
from isolet.functions.vault import KEY_BYTES, MasterKey
from isolet.ids import ProjectId

PROJECT, OTHER = ProjectId("project-1"), ProjectId("project-2")
DATA_KEY = bytes(range(KEY_BYTES))


def _master(seed: int) -> MasterKey:
    return MasterKey(bytes([seed]) * KEY_BYTES)


def test_what_a_key_wraps_it_unwraps() -> None:
    wrapped = _master(1).wrap(PROJECT, DATA_KEY)
    assert DATA_KEY not in wrapped
    assert _master(1).unwrap(PROJECT, wrapped) == DATA_KEY


def test_wrapping_twice_gives_different_bytes() -> None:
    master = _master(1)
    assert master.wrap(PROJECT, DATA_KEY) != master.wrap(PROJECT, DATA_KEY)


def test_another_master_key_does_not_unwrap() -> None:
    with pytest.raises(PlatformError, match="sealed with another key"):
        _master(2).unwrap(PROJECT, _master(1).wrap(PROJECT, DATA_KEY))


def test_a_wrapped_key_of_one_project_is_none_of_another() -> None:
    with pytest.raises(PlatformError, match="cannot open what is sealed"):
        _master(1).unwrap(OTHER, _master(1).wrap(PROJECT, DATA_KEY))


def test_every_changed_bit_is_noticed() -> None:
    wrapped = _master(1).wrap(PROJECT, DATA_KEY)
    for at in range(len(wrapped)):
        changed = bytearray(wrapped)
        changed[at] ^= 1
        with pytest.raises(PlatformError, match="cannot open what is sealed"):
            _master(1).unwrap(PROJECT, bytes(changed))


@pytest.mark.parametrize("length", [0, 1, 11, 12, 13, 27, 59])
def test_what_was_cut_is_noticed(length: int) -> None:
    wrapped = _master(1).wrap(PROJECT, DATA_KEY)
    assert len(wrapped) == 60
    with pytest.raises(PlatformError, match="cannot open what is sealed"):
        _master(1).unwrap(PROJECT, wrapped[:length])


def test_the_id_of_a_key_is_stable_and_tells_keys_apart() -> None:
    assert _master(1).id == _master(1).id != _master(2).id
    assert len(_master(1).id) == 16


def test_a_generated_key_can_be_parsed_and_is_new_each_time() -> None:
    first, second = MasterKey.generate(), MasterKey.generate()
    assert len(base64.b64decode(first)) == KEY_BYTES
    assert MasterKey.parse(f" {first}\n", source="x").id == MasterKey(base64.b64decode(first)).id
    assert first != second


@pytest.mark.parametrize(
    "text", ["", "not base64!", base64.b64encode(bytes(31)).decode(), base64.b64encode(bytes(33)).decode(), "ключ"]
)
def test_a_key_that_is_not_32_bytes_in_base64_is_refused_with_its_source(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        MasterKey.parse(text, source="ISOLET_MASTER_KEY")
    assert refused.value.message == "cannot read ISOLET_MASTER_KEY: a master key is 32 bytes in base64"
