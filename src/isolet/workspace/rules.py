"""Rules that say what an import of a file gives, as Workers have them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from isolet.workspace.model import RuleType
from isolet.workspace.tables import Table

_ENDING = re.compile(r"(?:\*\*/)?\*(\.[A-Za-z0-9]+)(?:\?\w+)?")
# What there is without a rule.
DEFAULTS = {".txt": RuleType.TEXT, ".html": RuleType.TEXT, ".sql": RuleType.TEXT, ".bin": RuleType.DATA}
DEFAULTS |= {".wasm": RuleType.WASM}
_SCRIPTS = (".js", ".mjs", ".cjs", ".ts", ".mts", ".jsx", ".tsx")
_SUPPORTED = (*RuleType, "CommonJS")


def endings_of(table: Table, rules: Sequence[Table]) -> dict[str, RuleType]:
    """The types by ending; what holds without a rule is left out. Raises WorkspaceError for another kind of pattern."""
    found: dict[str, RuleType] = {}
    for rule in rules:
        rule.check_known(("type", "globs", "fallthrough"))
        kind = rule.required("type")
        if kind not in _SUPPORTED:
            raise rule.error("type", f"must be one of {', '.join(_SUPPORTED)}, not {kind!r}")
        rule.flag("fallthrough")
        for pattern in rule.texts("globs") or ():
            matched = _ENDING.fullmatch(pattern)
            if matched is None:
                raise rule.error("globs", f"has {pattern!r}; patterns are by ending, such as **/*.md")
            ending, chosen = matched[1], RuleType.SCRIPT if kind == "CommonJS" else RuleType(kind)
            if DEFAULTS.get(ending) is not chosen and not (chosen is RuleType.SCRIPT and ending in _SCRIPTS):
                found[ending] = chosen
    return found
