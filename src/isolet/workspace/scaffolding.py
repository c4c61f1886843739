"""Makes a new project on disk from a template."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from importlib import resources
from pathlib import Path

from isolet.workspace.errors import WorkspaceError
from isolet.workspace.loading import NAMES

_IGNORED = ".isolet/\nnode_modules/\n.env\n.env.*\n.dev.vars\n.dev.vars.*\n"
_NAME_MAX_CHARS = 100


class Language(StrEnum):
    TYPESCRIPT = "ts"
    JAVASCRIPT = "js"


# What each template is for.
TEMPLATES: Mapping[str, str] = {
    "hello": "answers a request, as a Worker does",
    "handler": "async function handler(request, env), which answers with what it got",
    "storage": "keeps rows and a key in the project's stores, with a migration",
    "schedule": "runs every five minutes",
    "node": "decides how a workflow goes on",
}


def make_project(folder: Path, template: str, language: Language) -> list[str]:
    """Write the template's files; their paths. Raises WorkspaceError, and then nothing was written."""
    if template not in TEMPLATES:
        raise WorkspaceError(f"there is no template {template!r}; there is {', '.join(TEMPLATES)}")
    files = _files(template, language)
    there = [name for name in (*NAMES, *files) if (folder / name).exists() and name != ".gitignore"]
    if there:
        raise WorkspaceError(f"there is a project in {folder} already: {there[0]}")
    written = []
    try:
        for path, text in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.write_text(text)
                written.append(path)
    except OSError as exc:
        raise WorkspaceError(f"cannot write into {folder}: {exc.strerror}") from exc
    return written


def check_name(name: str) -> str:
    """The name of a new folder. Raises WorkspaceError."""
    plain = name.isprintable() and len(name) <= _NAME_MAX_CHARS and not set(name) & set('/\\:*?"<>|')
    if not plain or name in ("", ".", ".."):
        raise WorkspaceError(f"{name[:_NAME_MAX_CHARS]!r} cannot be the name of a folder")
    if name.startswith("-"):
        raise WorkspaceError(f"{name!r} would be taken for an option")
    return name


def _files(template: str, language: Language) -> dict[str, str]:
    source = resources.files("isolet.workspace") / "templates"
    entry = f"functions/{template}.{language}"
    files = {entry: (source / template / f"index.{language}").read_text()}
    migrations = source / template / "migrations"
    if migrations.is_dir():
        files |= {f"migrations/{one.name}": one.read_text() for one in migrations.iterdir()}
    settings = (source / template / "function.toml").read_text()
    config = f'[functions.{template}]\nentry = "{entry}"\n{settings}'
    if migrations.is_dir():
        config += '\n[databases.default]\nmigrations = "migrations"\n'
    files["isolet.toml"] = config
    files[".gitignore"] = _IGNORED
    if language is Language.TYPESCRIPT:
        files["tsconfig.json"] = (source / "tsconfig.json").read_text()
    return files
