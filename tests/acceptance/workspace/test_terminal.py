"""A developer's way at a terminal: a new project, a change, a deploy to a server, its logs, and the way back."""

import os
import re
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.projects import Project
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until


@pytest.fixture
def terminal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a short path: a socket is in it."""
    return tmp_path_factory.mktemp("t")


def test_from_an_empty_folder_to_a_rollback(own_project: Project, terminal_folder: Path) -> None:
    programs = terminal_folder / "bin"
    programs.mkdir()
    (programs / "isolet").write_text(f'#!/bin/sh\nexec {sys.executable} -m isolet "$@"\n')
    (programs / "isolet").chmod(0o755)
    address = f"/f/{own_project.slug}/hello"
    variables = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "ISOLET_URL": own_project.server.url,
        "ISOLET_API_KEY": own_project.key("deploy"),
    }
    code = terminal_folder / "shop/functions/hello.js"
    with Terminal(terminal_folder, variables) as terminal:
        terminal.run("isolet init shop --language js && cd shop")
        terminal.type("isolet dev --port 0 --dashboard-port off")
        found = re.search(r"hello  (http://\S+)", terminal.shows("hello  http://"))
        assert found is not None
        assert httpx.get(found[1], trust_env=False).text == "Hello, world!\n"
        terminal.shows("hello  ← 200")
        code.write_text(
            code.read_text().replace('"world"', '"you"').replace("return", "console.log(name);\n    return")
        )
        terminal.shows("hello: changed, version 2")
        assert httpx.get(found[1], trust_env=False).text == "Hello, you!\n"
        terminal.shows("hello  you")
        terminal.press("C-c")
        # To a server.
        assert "hello: made, version 1; version 1 answered 200" in terminal.run("isolet deploy")
        assert own_project.client.get(address).text == "Hello, you!\n"
        terminal.type("clear; isolet logs hello --follow")
        wait_until(
            lambda: own_project.client.get(f"{address}?name=Ada") and "hello  Ada" in terminal.screen, what="line"
        )
        terminal.press("C-c")
        code.write_text("export default { fetch() { return new Response('broken') } };")
        assert "hello: changed, version 2; version 2 answered 200" in terminal.run("isolet deploy")
        assert own_project.client.get(address).text == "broken"
        terminal.type("clear; isolet functions rollback hello 1")
        terminal.shows("?")
        terminal.type("y")
        wait_until(lambda: own_project.client.get(address).text == "Hello, you!\n", what="the version before")
