"""The wheel runs where there is Python and nothing else: no Node.js, no npm, no compiler, no shell."""

from __future__ import annotations

import re
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import wheel
from tests.support.wheel import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def programs(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the only program besides Python's own is `isolet`."""
    return wheel.install(built, tmp_path_factory.mktemp("venv") / "venv")


class Installed:
    """`isolet serve --example` of the wheel, with a PATH that has Python only, in an empty folder."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.environment = {"PATH": str(programs), "HOME": str(folder), "ISOLET_PORT": "0"}
        self._log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [str(programs / "isolet"), "serve", "--example"],
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.printed = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if "curl" in line:
                return
        raise AssertionError(f"it ended with {self.process.wait(60)}: {self.log}")

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def found(self, pattern: str) -> str:
        found = re.search(pattern, self.printed, re.MULTILINE)
        assert found is not None, self.printed
        return found[1]

    def end(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def installed(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    server = Installed(programs, tmp_path_factory.mktemp("empty"))
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(60)
        server.end()


def test_the_wheel_holds_every_file_of_the_package(built: Path) -> None:
    sources = ROOT / "src"
    wanted = {
        path.relative_to(sources).as_posix()
        for path in (sources / "isolet").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"isolet/functions/examples/hello.js", "isolet/py.typed"} < wanted
    # These are in there as what they are bundled to.
    wanted = {name for name in wanted if not name.startswith(("isolet/dashboard/scripts/", "isolet/dashboard/styles/"))}
    assets = ROOT / "node_modules/isolet-dashboard"
    wanted |= {f"isolet/bundled/node_modules/isolet-dashboard/{file.name}" for file in assets.glob("[!.]*")}
    with zipfile.ZipFile(built) as archive:
        assert wanted - set(archive.namelist()) == set()


def test_the_wheel_is_for_machines_like_this_one(built: Path) -> None:
    assert re.fullmatch(r"isolet-[\d.]+-py3-none-manylinux_2_\d+_(x86_64|aarch64)\.whl", built.name)
    with zipfile.ZipFile(built) as archive:
        (about,) = [name for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
        assert "Root-Is-Purelib: false" in archive.read(about).decode()


def test_what_runs_is_the_wheel(programs: Path) -> None:
    command = [str(programs / "python"), "-c", "import isolet; print(isolet.__file__)"]
    where = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd="/", env={}).stdout
    assert Path(where.strip()).is_relative_to(programs.parent)


def test_the_printed_command_calls_the_example(installed: Installed) -> None:
    command = installed.found(r"^  (curl .+)$")
    # What the operator types it into has more programs than the server.
    answered = subprocess.run(["bash", "-c", f"{command} -sS"], capture_output=True, text=True, timeout=60, check=True)
    assert answered.stdout == '{"message":"Hello, world!"}'


def test_a_project_is_deployed(installed: Installed, programs: Path, tmp_path: Path) -> None:
    """Clients have esbuild of the wheel, too."""
    (tmp_path / "isolet.toml").write_text('[functions.answer]\nentry = "answer.ts"\naccess = "public"\n')
    (tmp_path / "six.ts").write_text("export const six: number = 6;\n")
    code = 'import { six } from "./six";\nexport default { fetch: () => new Response(String(six * 7)) };\n'
    (tmp_path / "answer.ts").write_text(code)
    url, key = installed.found(r"ready at (\S+)"), installed.found(r"^API key: (\S+)$")
    environment = {**installed.environment, "ISOLET_URL": url, "ISOLET_API_KEY": key}
    command = [str(programs / "isolet"), "deploy"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.stderr) == ("answer: made, version 1; version 1 answered 200\n", "")
    assert httpx.get(f"{url}/f/default/answer", trust_env=False, timeout=60).text == "42"


def test_the_pages_of_the_api_have_their_files(installed: Installed) -> None:
    pages = installed.found(r"^Docs: (\S+)$")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert httpx.get(f"{pages}/assets/{name}", trust_env=False).status_code == 200
    assert "<h1" in httpx.get(f"{pages}/guide/running", trust_env=False, timeout=60).text
    dashboard = pages.removesuffix("/docs") + "/dashboard"
    assert "API key" in httpx.get(f"{dashboard}/login", trust_env=False).text
    for name in ("app.js", "editor.js", "app.css", "icon.svg"):
        assert httpx.get(f"{dashboard}/assets/{name}", trust_env=False).status_code == 200


def test_it_stops_when_told(installed: Installed) -> None:
    """The last of this file."""
    assert installed.stop() == 0
    assert "Traceback" not in installed.log
    assert "draining" in installed.log
