import json
import random

import pytest

from isolet.domain import json_text
from isolet.domain.json_text import DEPTH_MAX, JsonChecker, NotJson

GOOD = [
    b"1",
    b" -0.5e+10 ",
    b'"text"',
    b"null",
    b"[]",
    b"{}",
    b'[1, 2,[3,{}], {"a": [], "b": {"c": true}}]',
    b'{"a":1,"b":"x\\ud800","c":"\\u00e4\\"\\\\","":[[[[[[[[1]]]]]]]]}',
    '["ä\u2028🎈"]'.encode(),
    b"1" + b"0" * 100_000,
    b"[0.1, 1E5, 0e1, -0, 0, 12.50]",
    b"[" * 900 + b"]" * 900,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b'["' + b"x" * 50_000 + b'"]',
    b"[" + b'{"k":[true,false,null]},' * 3_000 + b"0]",
]
BAD = [
    b"",
    b" ",
    b"1,2",
    b'1,"a":2',
    b'"a":1',
    b'"a":1,"b":2',
    b"[1],2",
    b"[1][2]",
    b"1 2",
    b'"a""b"',
    b'"a" "b"',
    b"[1 2]",
    b'["a" "b"]',
    b"[1,]",
    b"[,1]",
    b"[,]",
    b"[1,,2]",
    b"{,}",
    b'{"a":1,}',
    b'{"a"}',
    b'{"a",1}',
    b'{"a":}',
    b'{"a":1,2}',
    b'{"a":1,2:3}',
    b'{"a":1 "b":2}',
    b'{"a":"b":"c"}',
    b"{1:2}",
    b"{1,1}",
    b'["a":1]',
    b'["a":1,"b":2]',
    b"[",
    b"]",
    b"[1",
    b"{",
    b'{"a":1',
    b"[}",
    b"{]",
    b'[{"a":1]}',
    b"[]]",
    b"01",
    b"-",
    b"1.",
    b".5",
    b"+1",
    b"1e",
    b"1e+",
    b"0x10",
    b"1_000",
    b"11 1",
    b"NaN",
    b"-Infinity",
    b"nul",
    b"nulll",
    b"True",
    b"truefalse",
    b'"',
    b'"abc',
    b'"\\x"',
    b'"\\u12g4"',
    b'"\\u12"',
    b'"a\nb"',
    b'"\x00"',
    b"\x00",
    b"[\x01]",
    b"\x0b1",
    b"'a'",
    b"v",
    b"[v]",
    b"s",
    b"w",
    b"kv",
    b"{m}",
    b"\xef\xbb\xbf[]",
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'"\xc3',
    b'"\xc3"',
    b"[\xc2\xa01]",
    b"[1]\xc3",
    b"[] // comment",
    b'["' + b"x" * 50_000,
    b"[" + b"1," * 30_000 + b"]",
    b"[" * 3 * DEPTH_MAX + b"]" * 3 * DEPTH_MAX,
]


def is_json(text: bytes, size: int) -> bool:
    checker = JsonChecker()
    try:
        for start in range(0, len(text), size):
            checker.feed(text[start : start + size])
        checker.close()
    except NotJson:
        return False
    return True


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 10**9])
@pytest.mark.parametrize("text", GOOD, ids=lambda text: repr(text[:40]))
def test_json_is_taken_however_it_is_cut(text: bytes, size: int) -> None:
    assert is_json(text, size)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 10**9])
@pytest.mark.parametrize("text", BAD, ids=lambda text: repr(text[:40]))
def test_what_is_no_json_is_refused_however_it_is_cut(text: bytes, size: int) -> None:
    assert not is_json(text, size)


def test_it_says_what_the_parser_says_of_texts_that_were_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "PIECE_BYTES", 5)
    dice = random.Random(7)
    alphabet = [b"[", b"]", b"{", b"}", b",", b":", b'"', b"1", b"0", b"-", b".", b"e", b" ", b"true", b"\\", b'"a"']
    agreed = {True: 0, False: 0}
    for _ in range(20_000):
        value = _some_value(dice, 4)
        text = json.dumps(value, indent=dice.choice([None, None, 1]), ensure_ascii=dice.random() < 0.5).encode()
        for _ in range(dice.choice([0, 0, 1, 1, 2])):
            at, more = dice.randrange(len(text) + 1), dice.randrange(3)
            text = text[:at] + (dice.choice(alphabet) if dice.random() < 0.6 else b"") + text[at + more :]
        expected = _parses(text)
        assert is_json(text, dice.choice([1, 3, 1000])) == expected, text
        agreed[expected] += 1
    assert min(agreed.values()) > 2_000


def _parses(text: bytes) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text.decode(), parse_constant=refuse)
    except ValueError:
        return False
    return True


def _some_value(dice: random.Random, depth: int) -> object:
    kind = dice.randrange(7 if depth else 5)
    if kind == 5:
        return [_some_value(dice, depth - 1) for _ in range(dice.randrange(4))]
    if kind == 6:
        names = [dice.choice(["a", 'b"', "ä", ""]) + str(number) for number in range(dice.randrange(4))]
        return {name: _some_value(dice, depth - 1) for name in names}
    return [dice.randrange(-50, 50), 1.5e30, dice.choice(["x", 'y"\\', "ü\n"]), None, True][kind]


def test_what_it_holds_does_not_grow_with_the_text() -> None:
    checker = JsonChecker()
    for _ in range(200):
        checker.feed(b"1" * 10_000)
    assert len(checker._rest) < 10
    checker.feed(b"e5")
    checker.close()
