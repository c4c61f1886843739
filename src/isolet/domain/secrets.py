"""A function's secrets: their names, their values, and keeping the values out of what is recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, AnyStr
from urllib.parse import quote, quote_plus

from isolet.errors import InvalidInput
from isolet.ids import FunctionId

NAME_MAX_CHARS = 128
VALUE_MAX_BYTES = 65_536
RESERVED_NAMES = frozenset({"KV", "DB"})
_NAME = re.compile(r"[A-Z0-9_]+")
_REDACTED = "[redacted]"
# Shorter values would blank out half of what a function says.
_REDACT_MIN_CHARS = 4
# What clients leave as it is in a query or a form: none of it, what JavaScript does, what stands in a path.
_UNESCAPED = ("", "!'()*", "/")


class SecretType(StrEnum):
    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """A secret as it is on disk: `sealed` is ciphertext."""

    function_id: FunctionId
    name: str
    type: SecretType
    sealed: bytes
    created_at_ms: int


def check_name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidInput("Secret name must be uppercase alphanumeric with underscores")
    if len(value) > NAME_MAX_CHARS:
        raise InvalidInput(f"Secret name is too long (maximum is {NAME_MAX_CHARS} characters)")
    if value in RESERVED_NAMES:
        raise InvalidInput(f"{value} is the name of a binding and cannot be a secret")
    return value


def encode_value(value: object) -> tuple[SecretType, str]:
    """The type and the text to seal: a string as it is, an object or array as JSON. Raises InvalidInput."""
    if isinstance(value, str):
        kind, text = SecretType.TEXT, value
    elif isinstance(value, dict | list):
        # Not in ASCII: an escaped half of a surrogate pair would be text that cannot be written anywhere.
        kind, text = SecretType.JSON, json.dumps(value, ensure_ascii=False)
    else:
        raise InvalidInput("Secret value must be a string, an object or an array")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput("Secret value holds characters that cannot be stored") from None
    if "\x00" in text:
        raise InvalidInput("Secret value holds characters that cannot be stored")
    if size > VALUE_MAX_BYTES:
        raise InvalidInput(f"Secret value is too large (maximum is {VALUE_MAX_BYTES} bytes)")
    return kind, text


def decode_value(kind: SecretType, text: str) -> Any:
    """What a function finds in `env`."""
    return text if kind is SecretType.TEXT else json.loads(text)


class Redactor:
    """Blanks the values of secrets, as they are and as JSON, queries and forms write them.

    What was `cut` may end in the midst of a value: that part goes too.
    """

    __slots__ = ("_encoded", "_patterns", "longest")

    def __init__(self, values: Iterable[Any]) -> None:
        texts = {text for value in values for text in _texts(value) if len(text) >= _REDACT_MIN_CHARS}
        written = texts | {json.dumps(text)[1:-1] for text in texts}
        written |= {json.dumps(text, ensure_ascii=False)[1:-1] for text in texts}
        for form in (quote, quote_plus):
            written |= {form(text, safe=safe, errors="replace") for text in texts for safe in _UNESCAPED}
        self._patterns = tuple(written)
        self._encoded = tuple(text.encode(errors="surrogatepass") for text in written)
        self.longest = max(map(len, self._encoded), default=0)

    def text(self, text: str, *, cut: bool = False) -> str:
        return _blank(text, self._patterns, _REDACTED, cut=cut)

    def data(self, data: bytes, *, cut: bool = False) -> bytes:
        return _blank(data, self._encoded, _REDACTED.encode(), cut=cut)


def _blank(text: AnyStr, patterns: Sequence[AnyStr], mark: AnyStr, *, cut: bool) -> AnyStr:
    """`mark` in place of every pattern; of patterns that overlap nothing is left either."""
    places = sorted(place for pattern in patterns for place in _places(text, pattern, cut=cut))
    if not places:
        return text
    parts: list[AnyStr] = []
    done = 0
    for begin, end in places:
        if begin >= done:
            parts += [text[done:begin], mark]
        done = max(done, end)
    parts.append(text[done:])
    return text[:0].join(parts)


def _places(text: AnyStr, pattern: AnyStr, *, cut: bool) -> Iterator[tuple[int, int]]:
    at = text.find(pattern)
    while at != -1:
        yield at, at + len(pattern)
        at = text.find(pattern, at + 1)
    if cut:
        beginning = pattern[:_REDACT_MIN_CHARS]
        at = text.find(beginning, max(len(text) - len(pattern) + 1, 0))
        while at != -1 and not pattern.startswith(text[at:]):
            at = text.find(beginning, at + 1)
        if at != -1:
            yield at, len(text)


def _texts(value: Any) -> Iterable[str]:
    """Every string in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
