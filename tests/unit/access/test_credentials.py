import pytest

from isolet.access.credentials import api_key, bearer


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_key_of_any_characters_is_read_as_clients_send_it(encoding: str) -> None:
    text = "schlüssel".encode(encoding)
    assert api_key([(b"x-api-key", b" " + text)]) == "schlüssel"
    assert bearer([(b"authorization", b"Bearer " + text)]) == "schlüssel"


def test_bytes_that_are_no_text_in_utf_8_stand_for_themselves() -> None:
    assert api_key([(b"x-api-key", b"\xff\xfe")]) == "ÿþ"
    assert bearer([(b"authorization", b"\xff")]) is None
