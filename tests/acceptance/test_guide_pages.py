"""The guides at `/docs/guide/`: all of them are there, and what they link to is."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from tests.support.server import NO_CAS, Server

DOCS = Path(__file__).parents[2] / "docs"


def get(server: Server, path: str) -> httpx.Response:
    return httpx.get(server.pages_url + path, trust_env=False, verify=NO_CAS, timeout=60)


def test_every_page_is_there_and_its_links_lead_to_parts_of_pages(server: Server) -> None:
    index = get(server, "/docs/guide/").text
    wanted = {f"/docs/{file.relative_to(DOCS).with_suffix('').as_posix()}" for file in DOCS.rglob("*.md")}
    assert set(re.findall(r'<li><a href="(.*?)"', index)) == wanted
    pages = {}
    for path in wanted:
        reply = get(server, path)
        assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert reply.text.count("<h1") == 1, path
        pages[path] = reply.text
    for path, text in pages.items():
        for address in re.findall(r'<a href="(/docs/(?!guide/").*?)"', text):
            page, _, part = address.partition("#")
            assert page in pages, (path, address)
            assert not part or f'id="{part}"' in pages[page], (path, address)
    assert "default-src 'none'" in get(server, "/docs/guide/functions").headers["content-security-policy"]
    assert get(server, "/docs/guide.css").headers["content-type"].startswith("text/css")
    assert 'href="/docs/guide/"' in get(server, "/docs").text


def test_nothing_else_is_there(server: Server) -> None:
    for path in ("none", "guide/none", "guide/functions.md", "/etc/passwd", "%00", "guide/functions/"):
        assert get(server, f"/docs/{path}").status_code == 404, path
    for path in ("..%2fREADME", "guide/%2e%2e/%2e%2e/README", "guide/..%5c..%5cREADME"):
        assert get(server, f"/docs/{path}").status_code == 404, path
