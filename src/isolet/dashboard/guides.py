"""The documentation as pages: below `/docs/` each Markdown file of the folder `docs`, and a list of them.

The files are part of Isolet. They may link to each other; links that lead out of the folder are shown as text.
"""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

_PACKAGE = Path(__file__).parents[1]
# In a wheel, and where the sources lie.
_PLACES = (_PACKAGE / "bundled/docs", _PACKAGE.parents[1] / "docs")
_BASE = "/docs/"
_SECTIONS = {"guide": "Guides", "reference": "Reference", "": "About Isolet", "decisions": "Decisions"}
_NO_WORD = re.compile(r"[^\w\- ]")
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} – Isolet</title>
<link rel="stylesheet" href="/docs/guide.css">
<link rel="icon" href="/docs/assets/favicon-32x32.png">
</head>
<body>
<nav><a href="/docs/guide/">Guides</a> <a href="/docs">API</a> <a href="/dashboard/">Dashboard</a></nav>
<main>
{body}
</main>
</body>
</html>
"""


def routes() -> list[Route]:
    return [
        Route("/docs/guide", lambda _: RedirectResponse("/docs/guide/")),
        Route("/docs/guide/", _index),
        Route("/docs/{page:path}", _page),
    ]


# The framework runs these in threads: a long page takes a tenth of a second the first time.
def _index(_: Request) -> Response:
    lists = []
    for folder, heading in _SECTIONS.items():
        found = [(path, title) for path, title in _titles().items() if path.rpartition("/")[0] == folder]
        items = "".join(f'<li><a href="{_BASE}{path}">{html.escape(title)}</a></li>\n' for path, title in found)
        lists.append(f"<h2>{heading}</h2>\n<ul>\n{items}</ul>\n" if items else "")
    return HTMLResponse(_PAGE.format(title="Guides", body="<h1>Guides</h1>\n" + "".join(lists)))


def _page(request: Request) -> Response:
    path = request.path_params["page"]
    # Only names that were listed are looked up.
    return HTMLResponse(_rendered(path)) if path in _titles() else Response("Not found", 404)


@cache
def _folder() -> Path | None:
    return next((place for place in _PLACES if (place / "guide").is_dir()), None)


@cache
def _titles() -> Mapping[str, str]:
    """What each file's first line says, by its path without its ending."""
    folder = _folder()
    files = sorted(folder.rglob("*.md")) if folder is not None else []
    return {
        file.relative_to(folder or file).with_suffix("").as_posix(): file.read_text()
        .partition("\n")[0]
        .lstrip("# ")
        .strip()
        for file in files
    }


@cache
def _rendered(path: str) -> str:
    # Not at the top: a server that shows no guide does not load it.
    from markdown_it import MarkdownIt  # noqa: PLC0415

    folder = _folder()
    text = ((folder or Path()) / f"{path}.md").read_text()
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    _name_headings(tokens)
    for token in tokens:
        for child in token.children or ():
            if child.type == "link_open":
                _lead(child, path)
    body = parser.renderer.render(tokens, parser.options, {})
    return _PAGE.format(title=html.escape(_titles()[path]), body=body)


def _name_headings(tokens: list[Any]) -> None:
    """As links of the files to parts of each other have them."""
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            words = "".join(child.content for child in inline.children or ())
            token.attrSet("id", _NO_WORD.sub("", words.lower()).replace(" ", "-"))


def _lead(link: Any, path: str) -> None:
    """A link to a file leads to its page; one that leads nowhere here has no address."""
    address = str(link.attrGet("href"))
    if address.startswith(("https:", "http:", "#")):
        return
    file, hash_sign, part = address.partition("#")
    there = posixpath.normpath(posixpath.join(posixpath.dirname(path), file)).removesuffix(".md")
    if there in _titles():
        link.attrSet("href", f"{_BASE}{there}{hash_sign}{part}")
    else:
        link.attrs.pop("href")
