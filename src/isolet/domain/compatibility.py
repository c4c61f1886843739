"""Which behaviour of the runtime a function was written for: a date, and flags beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Self

from msgspec import Struct

from isolet.errors import InvalidInput

# The newest that the runtime knows.
NEWEST = "2026-11-01"
OLDEST = "2021-11-02"
# The wrapper uses what the runtime has since then.
_LEAST = "2024-09-23"
_NODE = "nodejs_compat"
# Flags that change what a function sees, and nothing of what it may reach. The runtime has others, of which some are
# experiments, and some let code be made from text.
FLAGS = frozenset(
    {
        "nodejs_compat",
        "nodejs_compat_v2",
        "nodejs_als",
        "nodejs_compat_populate_process_env",
        "nodejs_compat_do_not_populate_process_env",
        "streams_enable_constructors",
        "transformstream_enable_standard_constructor",
        "url_standard",
        "urlsearchparams_delete_has_value_arg",
        "formdata_parser_supports_files",
        "global_navigator",
        "no_global_navigator",
        "export_commonjs_default",
        "export_commonjs_namespace",
        "brotli_content_encoding",
        "fetch_refuses_unknown_protocols",
        "http_headers_getsetcookie",
        "crypto_preserve_public_exponent",
        "strict_crypto_checks",
        "strict_compression_checks",
        "html_rewriter_treats_esi_include_as_void_tag",
        "cache_option_enabled",
        "cache_option_disabled",
        "allow_custom_ports",
    }
)
_FLAGS_MAX = 20
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Compatibility(Struct, frozen=True, kw_only=True):
    date: str | None = None
    flags: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Self:
        return cls() if stored is None else cls(date=stored.get("date"), flags=tuple(stored.get("flags", ())))

    def to_json(self) -> dict[str, Any] | None:
        return {"date": self.date, "flags": list(self.flags)} if self.date or self.flags else None

    @property
    def runtime_date(self) -> str:
        """The date that the runtime is told."""
        return max(self.date or NEWEST, _LEAST)

    @property
    def runtime_flags(self) -> tuple[str, ...]:
        """The flags that the runtime is told: the wrapper imports modules of Node's, which early dates lack."""
        return self.flags if _NODE in self.flags else (_NODE, *self.flags)


def check_date(value: object) -> str | None:
    """A day as YYYY-MM-DD; None for the newest. Raises InvalidInput."""
    if value is None:
        return None
    try:
        known = isinstance(value, str) and _DATE.fullmatch(value) and date.fromisoformat(value)
    except ValueError:
        known = None
    if not known or not OLDEST <= str(value) <= NEWEST:
        raise InvalidInput(f"compatibility_date must be a day such as {NEWEST}, from {OLDEST} to {NEWEST}")
    return str(value)


def check_flags(value: object) -> tuple[str, ...]:
    """Raises InvalidInput for a flag that is not supported."""
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > _FLAGS_MAX:
        raise InvalidInput(f"compatibility_flags must be a list of at most {_FLAGS_MAX} flags")
    for flag in value:
        if not isinstance(flag, str) or flag not in FLAGS:
            raise InvalidInput(
                f"compatibility_flags: {str(flag)[:100]!r} is not supported; flags are {', '.join(sorted(FLAGS))}"
            )
    return tuple(dict.fromkeys(value))
