"""Types of what a project's functions get: `env` with its bindings, the context, and the shapes of handlers."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from isolet.workspace.model import FunctionConfig, RuleType, Workspace
from isolet.workspace.rules import DEFAULTS

_HEAD = "// Written by `isolet types` from the project's configuration; `isolet dev` keeps it up to date.\n"
# The names that no configuration has: what asks no server finds them here.
_SECRETS = "// Secrets: "
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_NOT_NAME = re.compile(r"[^A-Za-z0-9]+")
_STORES = {"kv": "KVNamespace", "d1": "D1Database"}
_ALWAYS = {"KV": "KVNamespace", "DB": "D1Database"}
_IMPORTS = {RuleType.TEXT: "string", RuleType.DATA: "ArrayBuffer", RuleType.WASM: "WebAssembly.Module"}
_DEPTH_MAX = 8


def file_name(workspace: Workspace) -> str:
    return "isolet.d.ts" if workspace.dialect == "isolet" else "worker-configuration.d.ts"


def types_of(workspace: Workspace, secrets: Mapping[str, Collection[str]]) -> str:
    """The text of the file. `secrets` are the names of each function's, by the function's name."""
    functions = {one.name: _members(one, secrets.get(one.name, ())) for one in workspace.functions}
    named = {name: sorted(found) for name, found in sorted(secrets.items()) if found}
    parts = [_HEAD + (_SECRETS + json.dumps(named) + "\n" if named else ""), _runtime(workspace.root)]
    if len(functions) > 1:
        parts += [_interface(f"{_type_name(name)}Env", members) for name, members in functions.items()]
    parts.append(_interface("Env", _merged(list(functions.values()))))
    parts.append((resources.files("isolet.workspace") / "types" / "context.d.ts").read_text())
    parts.append(_modules(workspace.functions))
    return "\n".join(parts)


def write_types(workspace: Workspace, secrets: Mapping[str, Collection[str]], *, mode: int = 0o644) -> bool:
    """Whether the file has changed. Raises OSError."""
    path, text = workspace.root / file_name(workspace), types_of(workspace, secrets)
    if _text(path) == text:
        return False
    path.write_text(text)
    path.chmod(mode)
    return True


def is_current(workspace: Workspace, secrets: Mapping[str, Collection[str]]) -> bool:
    return _text(workspace.root / file_name(workspace)) == types_of(workspace, secrets)


def recorded_secrets(workspace: Workspace) -> dict[str, list[str]]:
    """The names of secrets that the file has, by function."""
    for line in (_text(workspace.root / file_name(workspace)) or "").splitlines()[:3]:
        if line.startswith(_SECRETS):
            try:
                found = json.loads(line.removeprefix(_SECRETS))
                return {str(name): [str(secret) for secret in names] for name, names in found.items()}
            except (ValueError, AttributeError, TypeError, RecursionError):
                return {}
    return {}


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def _members(function: FunctionConfig, secrets: Iterable[str]) -> dict[str, str]:
    found = dict.fromkeys(secrets, "string")
    found |= {name: _type(value, 0) for name, value in function.variables.items() if value is not None}
    found |= {name: _STORES.get(one.get("type", ""), "unknown") for name, one in (function.bindings or {}).items()}
    return dict(sorted({**found, **_ALWAYS}.items()))


def _merged(functions: list[dict[str, str]]) -> dict[str, str]:
    """What any of them has; optional where not all do."""
    merged: dict[str, str] = {}
    for name in sorted({name for members in functions for name in members}):
        kinds = list(dict.fromkeys(members[name] for members in functions if name in members))
        optional = "?" if any(name not in members for members in functions) else ""
        merged[name + optional] = " | ".join(kinds)
    return merged


def _interface(name: str, members: Mapping[str, str]) -> str:
    lines = [f"  {_member(member)}: {kind};" for member, kind in members.items()]
    return "\n".join([f"interface {name} {{", *lines, "}\n"])


def _member(name: str) -> str:
    plain = name.removesuffix("?")
    mark = "?" if name != plain else ""
    return (plain if _IDENTIFIER.fullmatch(plain) else json.dumps(plain)) + mark


def _type_name(name: str) -> str:
    words = [word for word in _NOT_NAME.split(name) if word]
    found = "".join(word[0].upper() + word[1:] for word in words)
    return found if found and not found[0].isdigit() else f"Function{found}"


def _type(value: Any, depth: int) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    if value is None:
        return "null"
    if depth >= _DEPTH_MAX:
        return "any"
    if isinstance(value, list):
        kinds = list(dict.fromkeys(_type(item, depth + 1) for item in value))
        return f"({' | '.join(kinds) or 'unknown'})[]"
    members = [f"{_member(name)}: {_type(item, depth + 1)}" for name, item in value.items()]
    return "{ " + "; ".join(members) + " }" if members else "{}"


def _runtime(root: Path) -> str:
    """Types of the runtime: those of a package where it is installed, else the few that bindings need."""
    for folder in (root, *root.parents):
        if (folder / "node_modules/@cloudflare/workers-types").is_dir():
            return '/// <reference types="@cloudflare/workers-types" />\n'
    return (resources.files("isolet.workspace") / "types" / "runtime.d.ts").read_text()


def _modules(functions: Iterable[FunctionConfig]) -> str:
    rules = dict(DEFAULTS)
    for function in functions:
        rules |= function.build.rules
    return "\n".join(
        f'declare module "*{ending}" {{\n  const content: {_IMPORTS[kind]};\n  export default content;\n}}\n'
        for ending, kind in sorted(rules.items())
        if kind in _IMPORTS
    )
