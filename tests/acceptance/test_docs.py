"""What the documentation shows is what happens, its links lead somewhere, and the table of limits has every figure."""

import os
import re
import sys
from pathlib import Path

import httpx
import pytest

from isolet.domain import limits, secrets
from isolet.project_data import kv, sql
from tests.support import pages, starter
from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.server import Server

ROOT = Path(__file__).parents[2]
# This one takes two servers and a database: `jobs/test_two_servers.py` does what it says.
ELSEWHERE = {"several-servers", "whole-server"}
GUIDE = [page for page in sorted((ROOT / "docs/guide").glob("*.md")) if page.stem not in ELSEWHERE]
ALL = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


def variables(server: Server, project: Project, folder: Path) -> dict[str, str]:
    """What the pages say that a reader has."""
    programs = folder / "bin"
    programs.mkdir()
    starter.command(programs / "isolet", ISOLET_API_KEY=server.root_key)
    python = programs / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    key = project.key("admin")
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "ISOLET_DATA_DIR": str(server.data_dir),
        "XDG_CONFIG_HOME": str(folder),
        "PROJECT": project.slug,
        "URL": server.url,
        "KEY": key,
    }


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_the_commands_of_a_page_do_what_it_says(page: Path, server: Server, root: httpx.Client, tmp_path: Path) -> None:
    with new_project(server, root) as project:
        assert pages.run(page, Kapso(project.client), tmp_path, variables(server, project, tmp_path)) >= 2


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_page_of_the_architecture_names_what_is_there() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    code = ROOT / "src/isolet"
    files = set(re.findall(r"`(?:src/isolet/)?([a-z_/]+\.(?:py|js))`", page))
    assert len(files) > 30
    assert [name for name in sorted(files) if not (code / name).exists()] == []
    layers = page.partition("## Layers")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", layers, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    there = {path.stem for path in code.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert named == there - {"__init__", "__main__"}


def test_a_page_that_shows_what_does_not_happen_fails(tmp_path: Path, server: Server, root: httpx.Client) -> None:
    page = tmp_path / "wrong.md"
    good = '```json\n{"status": "ok", "version": "…"}\n```'
    with new_project(server, root) as project:
        kapso, given = Kapso(project.client), variables(server, project, tmp_path)
        for shown in ('```json\n{"status": "bad"}\n```', '```json\n{"missing": "…"}\n```', "```text\nok\n```"):
            page.write_text(f'```sh\ncurl -s -X GET "$URL/healthz"\n```\n\n{shown}\n')
            with pytest.raises(AssertionError, match=r"^wrong\.md:2: "):
                pages.run(page, kapso, tmp_path, given)
        page.write_text(f"```sh\nfalse\n```\n\n{good}\n")
        with pytest.raises(AssertionError, match=r"^wrong\.md:2: failed"):
            pages.run(page, kapso, tmp_path, given)
        page.write_text(f'```sh\ncurl -s -X GET "$URL/healthz"\n```\n\n{good}\n')
        assert pages.run(page, kapso, tmp_path, given) == 1


def test_the_page_of_limits_has_every_figure() -> None:
    rows = [line for line in (ROOT / "docs/limits.md").read_text().splitlines() if line.startswith("| ")]
    figures = {row.split("|")[1].strip(): row.split("|")[2].strip() for row in rows}
    defaults = limits.Limits()
    assert {
        "KV key": f"{kv.KEY_MAX_BYTES} bytes",
        "KV value": f"{kv.VALUE_MAX_BYTES // 1024**2} MiB",
        "KV metadata": f"{kv.METADATA_MAX_BYTES:,} bytes of JSON",
        "SQL statement": f"{sql.STATEMENT_MAX_BYTES:,} bytes",
        "name of a secret": f"{secrets.NAME_MAX_CHARS} characters",
        "value of a secret": f"{secrets.VALUE_MAX_BYTES // 1024} KiB",
        "code": f"{limits.CODE_MAX_BYTES // 1024**2} MiB",
        "time of a call until its reply begins, `timeout_ms`": (
            f"{defaults.timeout_ms // 1000} s; at most 1 h, of asynchronous and scheduled calls 24 h for all of it"
        ),
        "CPU time, `cpu_ms`": f"{defaults.cpu_ms // 1000} s, at most 300 s",
        "memory of an instance, `memory_limit_mb`": f"{defaults.memory_limit_mb} MiB, from 64 to 1,024 MiB",
        "console": f"{limits.CONSOLE_MAX_LINES} lines of {limits.CONSOLE_MAX_CHARS:,} characters a call",
        "recorded body": f"{limits.RECORDED_BODY_MAX_BYTES // 1024} KiB",
        "recorded error text": f"{limits.ERROR_MAX_CHARS} characters",
    }.items() <= figures.items()
