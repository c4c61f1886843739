"""The pages about KV, SQL and secrets: their examples run as printed, and the table of limits has every figure."""

import os
import sys
from pathlib import Path

import httpx
import pytest

from isolet.domain import limits, secrets
from isolet.storage import kv, sql
from tests.support.guide import ROOT, check_page
from tests.support.projects import new_project
from tests.support.server import Server


@pytest.mark.parametrize("page", ["storage.md", "secrets.md", "observability.md", "websocket.md"])
def test_the_examples_of_a_page_do_what_it_says(server: Server, root: httpx.Client, tmp_path: Path, page: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    isolet = programs / "isolet"
    isolet.write_text(f'#!/bin/sh\nISOLET_API_KEY={server.root_key} exec {sys.executable} -m isolet "$@"\n')
    isolet.chmod(0o755)
    with new_project(server, root) as project:
        variables = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "ISOLET_URL": server.url,
            "ISOLET_API_KEY": project.key("admin"),
            "ISOLET_DATA_DIR": str(server.data_dir),
            "PROJECT": project.slug,
        }
        assert check_page(ROOT / "guide" / page, tmp_path, variables) >= 5


def test_the_page_of_limits_has_every_figure() -> None:
    rows = [line for line in (ROOT / "limits.md").read_text().splitlines() if line.startswith("| ")]
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
        "time of a call, `timeout_ms`": f"{defaults.timeout_ms // 1000} s, at most 300 s",
        "CPU time, `cpu_ms`": f"{defaults.cpu_ms // 1000} s, at most 300 s",
        "memory of an instance, `memory_limit_mb`": f"{defaults.memory_limit_mb} MiB, from 64 to 1,024 MiB",
        "console": f"{limits.CONSOLE_MAX_LINES} lines of {limits.CONSOLE_MAX_CHARS:,} characters a call",
        "recorded body": f"{limits.RECORDED_BODY_MAX_BYTES // 1024} KiB",
        "recorded error text": f"{limits.ERROR_MAX_CHARS} characters",
    }.items() <= figures.items()
