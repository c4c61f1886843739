"""Says whether a text is JSON, piece by piece, without building its value and without holding the text.

A piece is first reduced to its structure, one byte a token, and then again and again by its innermost values, all of it
by C code that sees one small piece at a time. What is left is checked against what is open, token by token.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from enum import IntEnum

PIECE_BYTES = 16_384
# What is open at once; a byte of each level is remembered, and deeper text is refused.
DEPTH_MAX = 10_000
# A round that takes less than this part of a piece away costs more than it saves.
_WORTHWHILE = 16

_INSIDE = rb'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+'
_WORD = rb"[-+.0-9a-zA-Z]"
_SCALAR = rb"(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+|true|false|null)"

_string = re.compile(rb'"' + _INSIDE + rb'"').sub
_closed_strings = re.compile(rb'(?:[^"]++|"' + _INSIDE + rb'")*+').match
_string_text = re.compile(_INSIDE).match
_is_cut_escape = re.compile(rb"(?:\\(?:u[0-9a-fA-F]{0,3})?)?").fullmatch
_scalar = re.compile(rb"(?<!%b)%b(?!%b)" % (_WORD, _SCALAR, _WORD)).sub
_is_cut_number = re.compile(rb"-?(?:(?:0|[1-9][0-9]*+)(?:\.[0-9]*+)?+(?:(?<=[0-9])[eE][-+]?[0-9]*+)?+)?+").fullmatch
_digits = re.compile(rb"([0-9])[0-9]++").sub
_LITERALS = (b"true", b"false", b"null")
_WORD_BYTES = b"-+.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

# What is left of strings and scalars, and what becomes of it: `s` a string, `v` a value.
_SPACE, _KNOWN = b" \t\r\n", b'"1[]{},: \t\r\n'
_TOKENS = bytes.maketrans(b'"1', b"sv")
# In this order, so that a value behind a name (`k`) is a member (`m`) before it can be taken for one of an array. `r`
# is the beginning of the text, and `w` the whole of it.
_ROUND = (
    (b"kv", b"m"),
    (b"rv", b"w"),
    (b"m,m", b"m"),
    (b"v,v", b"v"),
    (b"[v]", b"v"),
    (b"{m}", b"v"),
    (b"[]", b"v"),
    (b"{}", b"v"),
)


def _table(**steps: str) -> dict[int, dict[int, int]]:
    """By the last token, what may follow and what it makes the last one: pairs of characters."""
    names = {"array": "[", "object": "{", "comma": ",", "text": "^"}
    return {
        ord(names.get(last, last)): {ord(pair[0]): ord(pair[1]) for pair in pairs.split()}
        for last, pairs in steps.items()
    }


# By what is open innermost. An end makes `]` the last one for a moment: what it ended stands in its place.
_STEPS = {
    ord("["): _table(array="vv [[ {{ ]]", v=",, ]]", comma="vv [[ {{"),
    ord("{"): _table(object="kk mm }]", k="vm [[ {{", m=",, }]", comma="kk mm"),
    ord("^"): _table(text="rr ww", r="vw [[ {{", w=""),
}
_ENDED = {ord("["): ord("v"), ord("{"): ord("m"), ord("^"): ord("w")}


class NotJson(ValueError):
    """The text is no JSON in UTF-8, or has more than `DEPTH_MAX` levels open."""


class JsonChecker:
    """Feed it the text, then `close`; either raises NotJson. `values` says about how many it has seen."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.values = 0
        self._in_string = False
        # A token that is cut, and those whose meaning the next one tells.
        self._rest = b""
        self._pending = b"r"
        self._open = bytearray(b"^")
        self._last = ord("^")

    def feed(self, data: bytes) -> None:
        """Takes any amount; no single call that it makes sees more than about `PIECE_BYTES`."""
        for start in range(0, len(data), PIECE_BYTES):
            self._feed_piece(data[start : start + PIECE_BYTES])

    def close(self) -> None:
        # A space ends a number; a string that is open stays open.
        self._feed_piece(b" ")
        self._take(_reduced(self._pending.replace(b"s", b"v")))
        if self._in_string or self._rest or self._last != ord("w") or self._decoder.getstate()[0]:
            raise NotJson("the text ends too early")

    def _feed_piece(self, piece: bytes) -> None:
        try:
            self._decoder.decode(piece)
        except UnicodeDecodeError as exc:
            raise NotJson("not UTF-8") from exc
        structure = self._tokens(self._rest + piece)
        # One for what is empty, which its bracket and the comma beside it would make two.
        empty = structure.count(b"[]") + structure.count(b"{}")
        self.values += structure.count(b",") + structure.count(b"[") + structure.count(b"{") - empty
        structure = (self._pending + structure).replace(b"s:", b"k")
        # A colon may follow the last string.
        self._pending = b"s" if structure.endswith(b"s") else b""
        structure = _reduced(structure.removesuffix(b"s").replace(b"s", b"v"))
        # A name decides what the value is that follows it, and so does the beginning.
        if structure.endswith((b"k", b"r")):
            self._pending = structure[-1:] + self._pending
            structure = structure[:-1]
        self._take(structure)

    def _tokens(self, text: bytes) -> bytes:
        """The tokens that are whole in `text`; what is cut is kept."""
        self._rest = b""
        if self._in_string:
            text = self._end_string(text)
        closed = _closed_strings(text)
        end = closed.end() if closed else 0
        if end < len(text):
            self._in_string = True
            self._keep_string(text[end + 1 :])
            text = text[:end]
        elif not self._in_string:
            text = self._keep_word(text)
        text = _scalar(b"1", _string(b'"', text))
        if text.translate(None, _KNOWN):
            raise NotJson("a value that is none")
        return text.translate(_TOKENS, _SPACE)

    def _end_string(self, text: bytes) -> bytes:
        """What is behind the string that an earlier piece began, which an empty one stands for."""
        found = _string_text(text)
        end = found.end() if found else 0
        if text[end : end + 1] == b'"':
            self._in_string = False
            return b'"' + text[end:]
        self._keep_string(text)
        return b""

    def _keep_string(self, text: bytes) -> None:
        """Of a string that is open only an escape that is cut has to be seen again."""
        found = _string_text(text)
        rest = text[found.end() if found else 0 :]
        if not _is_cut_escape(rest):
            raise NotJson("a string that holds what it must not")
        self._rest = rest

    def _keep_word(self, text: bytes) -> bytes:
        """Without the word at the end, which may go on."""
        whole = text.rstrip(_WORD_BYTES)
        word = text[len(whole) :]
        if word and not any(literal.startswith(word) for literal in _LITERALS):
            if not _is_cut_number(word):
                raise NotJson("a value that is none")
            # As far as what follows can tell, the first of some digits stands for all of them.
            word = _digits(rb"\1", word)
        self._rest = word
        return whole

    def _take(self, structure: bytes) -> None:
        """Check what is left of a piece against what is open."""
        opened, last = self._open, self._last
        for token in structure:
            following = _STEPS[opened[-1]][last].get(token)
            if following is None:
                raise NotJson("a token where it must not be")
            if token in b"[{":
                if len(opened) > DEPTH_MAX:
                    raise NotJson("nested too deep")
                opened.append(token)
            elif following == 0x5D:
                opened.pop()
                following = _ENDED[opened[-1]]
            last = following
        self._last = last


class Verdict(IntEnum):
    """Also exit statuses, apart from those of an interpreter or a shell that fails."""

    JSON = 40
    NO_JSON = 41
    TOO_MANY_VALUES = 42


def judge(parts: Iterable[bytes], values_max: int | None) -> Verdict:
    """Of a text in parts; no more values are counted than may be."""
    checker = JsonChecker()
    try:
        for part in parts:
            for start in range(0, len(part), PIECE_BYTES):
                checker.feed(part[start : start + PIECE_BYTES])
                if values_max is not None and checker.values > values_max:
                    return Verdict.TOO_MANY_VALUES
        checker.close()
    except NotJson:
        return Verdict.NO_JSON
    return Verdict.JSON


def _reduced(structure: bytes) -> bytes:
    """Without the values that are whole in it, as far as that is worth its while."""
    while True:
        before = len(structure)
        for tokens, token in _ROUND:
            structure = structure.replace(tokens, token)
        if before - len(structure) <= before // _WORTHWHILE:
            return structure
