"""The variables of a run: how steps change them, how a change is taken back, and their bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from isolet.domain.flows.runs import VARIABLES_MAX_BYTES
from isolet.domain.json_bounds import bounded_json
from isolet.errors import InvalidInput


def check_variables(value: Any, label: str = "variables") -> Mapping[str, Any]:
    """An object within the bounds of a run's variables. Raises InvalidInput."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{label} must be an object")
    bounded_json(label, value, most=VARIABLES_MAX_BYTES)
    return value


def assigned(variables: Mapping[str, Any], name: str, value: Any) -> Mapping[str, Any]:
    """The variables with one more. A name with dots is a path of objects, as it is in templates.

    What is on the path and no object is replaced by one.
    """
    first, _, rest = name.removeprefix("vars.").partition(".")
    if rest:
        inside = variables.get(first)
        value = assigned(inside if isinstance(inside, Mapping) else {}, rest, value)
    return {**variables, first: value}


def undo_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What `undone` needs to get back from the variables after a step to those before it."""
    changed = {name: value for name, value in before.items() if name not in after or after[name] is not value}
    added = [name for name in after if name not in before]
    return {"set": changed, "drop": added} if changed or added else {}


def undone(variables: Mapping[str, Any], undo: Mapping[str, Any]) -> dict[str, Any]:
    dropped = undo.get("drop", ())
    return {name: value for name, value in variables.items() if name not in dropped} | dict(undo.get("set", {}))


def both_undone(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """One undo for two changes in a row."""
    if not earlier or not later:
        return dict(earlier or later)
    known = {*earlier["set"], *earlier["drop"]}
    changed = {name: value for name, value in later["set"].items() if name not in known} | earlier["set"]
    added = [name for name in later["drop"] if name not in known]
    return {"set": changed, "drop": [*earlier["drop"], *added]}


def dump(value: Any) -> str:
    """JSON in ASCII, so that any text can be stored, lone surrogates and NUL included."""
    return json.dumps(value, separators=(",", ":"))
