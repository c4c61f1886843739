"""Each example deploys and does what its page says."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import httpx
import pytest

from tests.support import pages, starter
from tests.support.kapso import Kapso
from tests.support.on_disk import link_packages
from tests.support.projects import new_project
from tests.support.server import Server

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
# What `npm install` would bring.
PACKAGES = {"hono": ["hono"]}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_does_what_its_page_says(name: str, server: Server, root: httpx.Client, tmp_path: Path) -> None:
    folder, programs = tmp_path / name, tmp_path / "bin"
    shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("node_modules"))
    link_packages(folder, *PACKAGES.get(name, []))
    programs.mkdir()
    starter.command(programs / "isolet")
    with new_project(server, root) as project:
        key = project.key("admin")
        variables = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "HOME": str(tmp_path),
            "ISOLET_URL": server.url,
            "ISOLET_API_KEY": key,
            "ISOLET_PROJECT": project.slug,
            "URL": server.url,
            "KEY": key,
            "PROJECT": project.slug,
        }
        assert pages.run(folder / "README.md", Kapso(project.client), folder, variables) >= 2


def test_the_page_of_examples_names_each() -> None:
    assert (
        sorted(re.findall(r"^\| \[\w+\]\((\w+)/README\.md\)", (EXAMPLES / "README.md").read_text(), re.MULTILINE))
        == NAMES
    )
