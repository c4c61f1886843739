"""The unit is one that systemd accepts, hardens the service, and leaves the sandbox of functions what it needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import psutil
import pytest

from isolet import configfile, settings
from tests.support.projects import new_project
from tests.support.server import Server
from tests.support.unit_sandbox import options
from tests.support.wheel import ROOT

UNIT = ROOT / "packaging/isolet.service"
CONFIG = ROOT / "packaging/isolet.toml"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
STORES = """
export default { async fetch(_, env) { await env.KV.put("a", "b"); return new Response(await env.KV.get("a")); } };
"""
# As systemd counts, from 0 to 10; without any option it is 9.6.
_EXPOSURE_MAX = 4.0


@needs_systemd
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """With a program that is there: that of the unit is where its page has it installed."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/isolet/bin/isolet", sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False
    )
    complaints = [line for line in verified.stderr.splitlines() if UNIT.name in line]
    assert (verified.returncode, complaints) == (0, [])


@needs_systemd
def test_the_unit_is_hardened() -> None:
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={_EXPOSURE_MAX * 10:.0f}", UNIT]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert judged.returncode == 0, judged.stdout[-400:]


def test_the_configuration_of_the_unit_can_be_read_with_and_without_its_comments(tmp_path: Path) -> None:
    words = options(UNIT)["ExecStart"]
    assert words[1:] == ["serve", "--config", "/etc/isolet/isolet.toml"]
    chosen = settings.load({}, {}, configfile.read(CONFIG))
    assert str(chosen.data_dir) == f"/var/lib/{options(UNIT)['StateDirectory'][0]}"
    whole = "".join(
        line.removeprefix("# ") if " = " in line else line for line in CONFIG.read_text().splitlines(keepends=True)
    )
    (tmp_path / "whole.toml").write_text(whole)
    assert len(tomllib.loads(whole)) == 9
    settings.load({}, {}, configfile.read(tmp_path / "whole.toml"))


@needs_systemd
def test_functions_run_in_their_sandbox_under_what_the_unit_takes_away(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    # A short path: the sockets must be in this folder, because no other one can be written.
    data = tmp_path_factory.mktemp("unit")
    wrapper = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps"]
    wrapper += ["--mount", "--propagation", "private", "--fork"]
    wrapper += [sys.executable, "-m", "tests.support.unit_sandbox", str(UNIT), str(data)]
    with (
        Server(data / "isolet", wrapper=wrapper) as server,
        server.client() as root,
        new_project(server, root) as project,
    ):
        (process,) = psutil.Process(server.process.pid).children()
        status = Path(f"/proc/{process.pid}/status").read_text()
        for held in ("NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "Seccomp:\t2"):
            assert held in status
        body = {"code": STORES, "access": "public"}
        made = root.put(f"/isolet/v1/projects/{project.slug}/functions/one?wait=60", json=body)
        assert (made.status_code, made.json()["status"]) == (201, "deployed")
        assert root.get(f"/f/{project.slug}/one").text == "b"
        # The instance, the project's storage: each has bubblewrap around it.
        assert sum("--unshare-all" in child.cmdline() for child in process.children()) >= 2
