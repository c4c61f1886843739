"""What the documentation shows is what happens."""

import re
from pathlib import Path

import httpx
import pytest

from tests.support import pages
from tests.support.kapso import Kapso
from tests.support.server import Server

ROOT = Path(__file__).parents[2]
GUIDE = sorted((ROOT / "docs/guide").glob("*.md"))
ALL = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_the_commands_of_a_page_do_what_it_says(page: Path, server: Server, project: httpx.Client) -> None:
    compared = pages.run(page, Kapso(project), server.url, project.headers["X-API-Key"])
    assert compared > 0


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_a_page_that_shows_what_does_not_happen_fails(tmp_path: Path, server: Server, project: httpx.Client) -> None:
    page = tmp_path / "wrong.md"
    key = project.headers["X-API-Key"]
    for shown in ('```json\n{"status": "bad"}\n```', '```json\n{"missing": "…"}\n```', "```text\nok\n```"):
        page.write_text(f'```sh\ncurl -s -X GET "$URL/healthz"\n```\n\n{shown}\n')
        with pytest.raises(AssertionError, match=r"^wrong\.md:2: "):
            pages.run(page, Kapso(project), server.url, key)
    page.write_text('```sh\ncurl -s -X GET "$URL/healthz"\n```\n\n```json\n{"status": "ok", "version": "…"}\n```\n')
    assert pages.run(page, Kapso(project), server.url, key) == 1
