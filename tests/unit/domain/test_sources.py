from __future__ import annotations

import base64
from typing import Any

import pytest

from isolet.domain.compatibility import Compatibility, check_date, check_flags
from isolet.domain.sources import FILES_MAX, Sources, check_sources, diff
from isolet.errors import InvalidInput


def _b64(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode()}


def test_files_are_kept_as_they_were_sent() -> None:
    sent = {"src/index.ts": "export {}\r\n", "a.bin": _b64(b"\x00\xff"), "node_modules/@a/b.js": ""}
    sources = check_sources(sent)
    assert sources.entry == "src/index.ts"
    assert sources.files["a.bin"] == b"\x00\xff"
    assert Sources.from_json(sources.to_json()) == sources
    assert sources.to_json() == {"entry": "src/index.ts", "files": sent}


@pytest.mark.parametrize(
    ("files", "entry", "found"),
    [
        ({"any.js": "x"}, None, "any.js"),
        ({"index.js": "x", "a.js": "y"}, None, "index.js"),
        ({"worker.ts": "x", "a.js": "y"}, None, "worker.ts"),
        ({"index.js": "x", "index.ts": "y"}, "index.ts", "index.ts"),
        ({"a.js": "x", "b.js": "y"}, "b.js", "b.js"),
    ],
)
def test_the_entry_is_found(files: dict[str, str], entry: str | None, found: str) -> None:
    assert check_sources(files, entry).entry == found


@pytest.mark.parametrize(
    ("files", "entry", "words"),
    [
        (None, None, "files must be an object"),
        ({}, None, "at least one file"),
        ([], None, "files must be an object"),
        ({"index.js": "x", "index.ts": "y"}, None, "entry is required: it may be index.ts or index.js"),
        ({"a.js": "x", "b.js": "y"}, None, "entry is required: none of the files"),
        ({"a.js": "x"}, "b.js", "entry: 'b.js' is not one of the files"),
        ({"a.js": "x"}, 5, "entry: '5' is not one"),
        ({"a.js": "  "}, None, "entry: a.js is empty"),
        ({"a.js": _b64(b"x")}, None, "entry: a.js is empty, or not text"),
        ({"a.js": 5}, None, "a.js must be text or"),
        ({"a.js": {"base64": "%%"}}, None, "a.js is not base64"),
        ({"a.js": {"base64": "eA==", "x": 1}}, None, "a.js must be text or"),
        ({"a.js": "\x00"}, None, "not text; send it as base64"),
        ({"a.js": "\ud800"}, None, "not text; send it as base64"),
        ({"../a.js": "x"}, None, "must be relative to the root"),
        ({"a/../../b.js": "x"}, None, "must be relative to the root"),
        ({"/etc/a.js": "x"}, None, "must be relative to the root"),
        ({"a//b.js": "x"}, None, "must be relative to the root"),
        ({"./a.js": "x"}, None, "must be relative to the root"),
        ({"a\\b.js": "x"}, None, "is not a path"),
        ({"C:a.js": "x"}, None, "is not a path"),
        ({"a\nb.js": "x"}, None, "is not a path"),
        ({"a\u202eb.js": "x"}, None, "is not a path"),
        ({"": "x"}, None, "is not a path"),
        ({"x" * 513: "x"}, None, "is not a path"),
        ({"ü" * 200 + ".js": "x"}, None, "must be relative"),
        ({"/".join("a" * 33): "x"}, None, "must be relative"),
        ({"a": "x", "a/b.js": "y"}, "a", "a is a file and a folder"),
        ({"a.js": "x" * (10 * 1024 * 1024 + 1)}, None, "larger than 10 MiB"),
        ({f"{n}.js": "x" for n in range(FILES_MAX + 1)}, None, "2000 is the most"),
    ],
)  # fmt: skip
def test_bad_files_are_refused(files: Any, entry: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_sources(files, entry)
    assert words in refused.value.message
    assert len(refused.value.message) < 700


def test_a_diff_shows_what_changed() -> None:
    before = Sources(entry="a.js", files={"a.js": "one\ntwo\n", "gone.js": "x\n", "same.js": "s", "b.bin": b"1"})
    after = Sources(entry="a.js", files={"a.js": "one\n2", "new.js": "y\n", "same.js": "s", "b.bin": b"2"})
    assert diff(before, after).splitlines() == [
        "--- a/a.js",
        "+++ b/a.js",
        "@@ -1,2 +1,2 @@",
        " one",
        "-two",
        "+2",
        "\\ No newline at end of file",
        "Binary files a/b.bin and b/b.bin differ",
        "--- a/gone.js",
        "+++ /dev/null",
        "@@ -1 +0,0 @@",
        "-x",
        "--- /dev/null",
        "+++ b/new.js",
        "@@ -0,0 +1 @@",
        "+y",
    ]
    assert diff(before, before) == ""


def test_compatibility_is_a_date_and_known_flags() -> None:
    assert check_date("2024-01-01") == "2024-01-01"
    assert check_flags(["nodejs_compat", "nodejs_compat"]) == ("nodejs_compat",)
    assert Compatibility(date="2023-01-01").runtime_date == "2024-09-23"
    assert Compatibility().runtime_date == "2026-11-01"
    for bad in ("yesterday", "2026-02-30", "2027-01-01", "2020-01-01", 5, "2024-1-1"):
        with pytest.raises(InvalidInput, match=r"^compatibility_date must be"):
            check_date(bad)
    for bad in ("nodejs_compat", ["unsafe_eval"], ["experimental"], [5], ["nodejs_compat"] * 21):
        with pytest.raises(InvalidInput, match=r"^compatibility_flags"):
            check_flags(bad)


def test_a_diff_of_very_many_lines_names_the_last_files_only() -> None:
    lines = [f"{number}\r" for number in range(1_999)]
    before = {f"{number:02}.js": "".join(lines) for number in range(14)}
    after = {path: text + "new" for path, text in before.items()}
    shown = diff(Sources(entry="00.js", files=before), Sources(entry="00.js", files=after))
    assert "+++ b/11.js" in shown
    assert shown.endswith("Files a/12.js and b/12.js differ\nFiles a/13.js and b/13.js differ\n")
