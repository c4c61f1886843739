"""The chat endpoint that agents and decisions of a project ask."""

from __future__ import annotations

from msgspec import Struct

from isolet.errors import InvalidInput

MODEL_MAX_CHARS = 256
KEY_MAX_CHARS = 8_192
# In the place of a key.
KEY_SHOWN = "***"


class AgentModel(Struct, frozen=True, kw_only=True):
    """`base_url` ends before `/chat/completions`, without a slash. `streams`: replies are asked for as they come."""

    base_url: str
    model: str
    streams: bool = False
    has_key: bool = False


def check_model(value: str) -> str:
    """The name of a model. Raises InvalidInput."""
    if not 1 <= len(value) <= MODEL_MAX_CHARS or not value.isprintable():
        raise InvalidInput(f"model must be 1 to {MODEL_MAX_CHARS} characters, none of which controls anything")
    return value


def check_key(value: str | None) -> str | None:
    """A key that a header can hold. Raises InvalidInput."""
    if value is None or value == "":
        return None
    if len(value) > KEY_MAX_CHARS or not (value.isascii() and value.isprintable()) or value != value.strip():
        raise InvalidInput(f"api_key_secret must be up to {KEY_MAX_CHARS} visible characters of ASCII")
    return value
