"""Writes the reference page of the settings from their table."""

from __future__ import annotations

from pathlib import Path

from isolet import settings

PAGE = Path(__file__).parents[2] / "docs/reference/settings.md"
_HEAD = """\
# Settings

Every setting is a flag of `isolet serve`, a variable, and a key of the file that `--config FILE` names. The flag wins
over the variable, and the variable over the file. An empty one counts as none. A value that cannot be read stops the
start with a sentence that names the flag, the variable, or the key and the file. Numbers are at most 2,147,483,647.

The file is TOML. Its keys are the flags with underscores; lists are text with commas, as in flags; relative paths start
at the folder that the server is started in:

```toml
host = "0.0.0.0"
port = 7878
data_dir = "/var/lib/isolet"
trusted_proxies = "127.0.0.1/32"
metrics_public = true
```

A key that is no setting, and a value of another type, stop the start. A file with `api_key`, `master_key` or
`database_url` in it should be closed to other users (`chmod 640`): the start warns when it is not.

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
