"""A function's variables as the native API has them: any JSON, by names that `env` can have."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from isolet.domain.environment import bounded
from isolet.domain.json_bounds import bounded_json
from isolet.domain.secrets import RESERVED_NAMES
from isolet.errors import InvalidInput

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def check_variables(value: object) -> dict[str, Any]:
    """Variables to set, or with null to remove. Raises InvalidInput naming the variable."""
    if not isinstance(value, Mapping):
        raise InvalidInput("variables must be an object")
    for name, member in value.items():
        if _NAME.fullmatch(name) is None:
            raise InvalidInput(f"variables: {name[:128]!r} must be letters, digits and _, and not begin with a digit")
        if name in RESERVED_NAMES:
            raise InvalidInput(f"variables: {name} is the name of a binding")
        bounded_json(f"variables.{name}", member)
    return dict(value)


def merged_variables(before: Mapping[str, Any], changes: Mapping[str, Any], member: str) -> dict[str, Any]:
    """Raises InvalidMember when all of it is too much."""
    after = {name: value for name, value in {**before, **changes}.items() if value is not None}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in after.items()}
    bounded(texts, member)
    return after
