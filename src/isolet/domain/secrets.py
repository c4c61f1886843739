"""A function's secrets: their names, their values, and keeping the values out of what is recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from isolet.domain.json_bounds import check_depth
from isolet.domain.redaction import strings
from isolet.errors import InvalidInput
from isolet.ids import FunctionId

NAME_MAX_CHARS = 128
VALUE_MAX_BYTES = 65_536
# Of a function, together: each is looked for in all that is recorded of it.
SECRETS_MAX = 100
PRIVATE_VALUES_MAX = 1_000
PRIVATE_MAX_BYTES = 262_144
RESERVED_NAMES = frozenset({"KV", "DB"})
_NAME = re.compile(r"[A-Z0-9_]+")


class SecretType(StrEnum):
    TEXT = "text"
    JSON = "json"


class StoredSecret(Struct, frozen=True, kw_only=True):
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
        check_depth("Secret value", value)
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


def check_together(before: Sequence[Any], added: Any) -> None:
    """Raises InvalidInput when these values of secrets, as `decode_value` gives them, are too much together.

    In JSON each string counts as a value.
    """
    if len(before) >= SECRETS_MAX:
        raise InvalidInput(f"A function may have {SECRETS_MAX} secrets")
    texts = [text for value in (*before, added) for text in strings(value)]
    if len(texts) > PRIVATE_VALUES_MAX:
        raise InvalidInput(f"The secrets of a function may hold {PRIVATE_VALUES_MAX} values, strings in JSON included")
    if sum(len(text.encode(errors="surrogatepass")) for text in texts) > PRIVATE_MAX_BYTES:
        raise InvalidInput(f"The secrets of a function may have {PRIVATE_MAX_BYTES} bytes together")
