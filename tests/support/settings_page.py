"""Writes the reference page of the settings from their table."""

from __future__ import annotations

from pathlib import Path

from isolet import settings

PAGE = Path(__file__).parents[2] / "docs/reference/settings.md"
_HEAD = """\
# Settings

Every setting is a flag of `isolet serve` and a variable; the flag wins. An empty one counts as none. A value that
cannot be read stops the start with a sentence that names the flag or the variable. Numbers are at most 2,147,483,647.

This page is made from the table in `src/isolet/settings.py` by `scripts/settings-page`.

| flag | variable | default | what |
|---|---|---|---|
"""


def settings_page() -> str:
    rows = []
    for field in settings.fields():
        default = "" if field.default in (None, "") else f"`{str(field.default).lower()}`"
        bounds = []
        if field.metadata["choices"]:
            bounds.append("One of " + ", ".join(f"`{choice}`" for choice in field.metadata["choices"]) + ".")
        if field.metadata["minimum"] is not None:
            bounds.append(f"At least {field.metadata['minimum']:g}.")
        if field.metadata["maximum"] is not None:
            bounds.append(f"At most {field.metadata['maximum']:g}.")
        flag, variable = "--" + field.name.replace("_", "-"), settings.PREFIX + field.name.upper()
        what = " ".join([field.metadata["doc"], *bounds])
        rows.append(f"| `{flag}` | `{variable}` | {default} | {what} |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(settings_page())
