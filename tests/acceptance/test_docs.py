"""What the documentation shows is what happens."""

import re
from pathlib import Path

import httpx
import pytest

from tests.support import pages
from tests.support.kapso import Kapso
from tests.support.server import Server

ROOT = Path(__file__).parents[2]
# Pages that need no more than $URL, $KEY and $FUNCTION. Others have a test of their own.
GUIDE = [ROOT / "docs/guide" / f"{name}.md" for name in ("functions",)]
# Pages that others lead to already, and that are to be written.
AWAITED = {ROOT / "docs/limits.md"}
ALL = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_the_commands_of_a_page_do_what_it_says(page: Path, server: Server, project: httpx.Client) -> None:
    compared = pages.run(page, Kapso(project), server.url, project.headers["X-API-Key"])
    assert compared > 0


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    targets = [(page.parent / link).resolve() for link in links]
    assert [target for target in targets if not target.exists() and target not in AWAITED] == []


def test_a_page_that_shows_what_does_not_happen_fails(tmp_path: Path, server: Server, project: httpx.Client) -> None:
    page = tmp_path / "wrong.md"
    key = project.headers["X-API-Key"]
    for shown in ('```json\n{"status": "bad"}\n```', '```json\n{"missing": "…"}\n```', "```text\nok\n```"):
        page.write_text(f'```sh\ncurl -s -X GET "$URL/healthz"\n```\n\n{shown}\n')
        with pytest.raises(AssertionError, match=r"^wrong\.md:2: "):
            pages.run(page, Kapso(project), server.url, key)
    page.write_text('```sh\ncurl -s -X GET "$URL/healthz"\n```\n\n```json\n{"status": "ok", "version": "…"}\n```\n')
    assert pages.run(page, Kapso(project), server.url, key) == 1
