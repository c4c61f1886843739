"""The image's steps can be taken: copies find their files, commands are there, the server runs as the image says.

No container is made: what builds the wheel in the image is what `test_wheel.py` runs.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from isolet import settings
from tests.support import dockerfile
from tests.support.dockerfile import Stage
from tests.support.server import Server
from tests.support.wheel import ROOT

BUILD, FINAL = dockerfile.stages(ROOT / "Dockerfile")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
# Installed by a step before, or part of the image that the stage begins with.
PROGRAMS = {"apt-get", "rm", "useradd", "install", "pip", "make"}


def test_images_have_a_version() -> None:
    for image in (BUILD.image, FINAL.image, COMPOSE["services"]["postgres"]["image"]):
        assert re.fullmatch(r"[a-z]+:\d+(\.\d+)?(-\w+)+", image)
    assert BUILD.image == FINAL.image


@pytest.mark.parametrize("stage", [BUILD, FINAL], ids=["build", "final"])
def test_steps_are_of_good_form(stage: Stage) -> None:
    for step in stage.of("RUN"):
        assert subprocess.run(["sh", "-n", "-c", step.text], timeout=30, check=False).returncode == 0, step.line
        for command in re.split(r"&&|;", step.text):
            assert command.split()[0] in PROGRAMS, step.line
        if "apt-get install" in step.text:
            assert "--no-install-recommends" in step.text
            assert step.text.endswith("rm -rf /var/lib/apt/lists/*")
        if "pip install" in step.text:
            assert "--no-cache-dir" in step.text
            assert "--require-hashes" in step.text or "--no-deps --no-index" in step.text
    assert not stage.of("ADD")
    assert {step.flags["from"] for step in stage.of("COPY") if "from" in step.flags} <= {BUILD.name}


def test_copies_find_their_files_and_these_build_the_wheel(tmp_path: Path) -> None:
    """As they lie in the image `make` knows what to do for the step of the stage; nothing is done."""
    files = dockerfile.context(ROOT)
    assert not [name for name in files if name.startswith(("tests/", ".git/", "dist/"))]
    for step in BUILD.of("COPY"):
        for source, place in dockerfile.copied(step, files).items():
            target = tmp_path / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / source, target)
    (command,) = [step.text for step in BUILD.of("RUN") if "wheel" in step.text]
    told = subprocess.run(
        [*command.split(), "-n"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert told.returncode == 0, told.stderr
    for part in ("scripts/npm ci --omit=dev", "--requirement requirements.lock", "scripts/wheel"):
        assert part in told.stdout
    sources = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "src").rglob("*") if path.is_file()}
    assert sources == {name for name in files if name.startswith("src/")}
    assert (tmp_path / "docs/guide/running.md").is_file()
    assert {name for name in os.listdir(tmp_path) if name.endswith(".lock")} == {
        "requirements.lock",
        "requirements-node.lock",
    }


def test_the_final_stage_installs_what_is_locked_and_what_was_built() -> None:
    files = dockerfile.context(ROOT)
    (lock,) = [step for step in FINAL.of("COPY") if "from" not in step.flags]
    (place,) = dockerfile.copied(lock, files).values()
    (built,) = [step for step in FINAL.of("COPY") if "from" in step.flags]
    source, target = built.words
    assert source == BUILD.last("WORKDIR").text + "/dist"
    installed = " ".join(step.text for step in FINAL.of("RUN"))
    assert f"--requirement {place}" in installed
    assert f"{target}/*.whl" in installed


def test_the_image_does_not_run_as_root_and_its_data_is_the_users() -> None:
    user, folder = FINAL.last("USER").text, FINAL.last("VOLUME").text
    (made,) = [step.text for step in FINAL.of("RUN") if "useradd" in step.text]
    assert made.split("&&")[0].split()[-1] == user
    assert f"install -d -o {user} -g {user} -m 0700 {folder}" in made
    assert [step.instruction for step in FINAL.steps].index("USER") > max(
        number for number, step in enumerate(FINAL.steps) if step.instruction == "RUN"
    )
    assert FINAL.environment["ISOLET_DATA_DIR"] == folder == FINAL.last("WORKDIR").text


def _overlays() -> bool:
    return os.geteuid() == 0 and "\toverlay\n" in Path("/proc/filesystems").read_text()


@pytest.mark.skipif(not _overlays(), reason="only root may put a layer over the machine's files")
def test_the_step_that_makes_the_user_does(tmp_path: Path) -> None:
    """It runs on a copy of this machine's files, which is gone with its namespace."""
    user, folder = FINAL.last("USER").text, FINAL.last("VOLUME").text
    (step,) = [step.text for step in FINAL.of("RUN") if "useradd" in step.text]
    root = f"{tmp_path}/root"
    layer = f"lowerdir=/,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    inside = f"{step} && stat -c '%U %G %a' {folder} && id -u {user}"
    script = (
        f"mount -t tmpfs none {tmp_path} && mkdir {root} {tmp_path}/upper {tmp_path}/work && "
        f'mount -t overlay none -o {layer} {root} && exec chroot {root} sh -c "$0"'
    )
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, inside]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f"{user} {user} 700\n10001\n", "")


def test_the_command_of_the_image_serves_and_its_health_check_sees_it(tmp_path: Path) -> None:
    """With the image's environment, but on a port and a folder of the test, and on loopback."""
    given = {name.removeprefix("ISOLET_").lower(): value for name, value in FINAL.environment.items()}
    settings.load(FINAL.environment)
    assert FINAL.last("ENTRYPOINT").words == ["isolet"]
    assert FINAL.last("CMD").words == ["serve"]
    assert FINAL.last("EXPOSE").words == [given["port"], given["dashboard_port"]]
    check = FINAL.last("HEALTHCHECK")
    assert check.text.startswith("CMD [")
    words = dockerfile.Step(line=0, instruction="CMD", flags={}, text=check.text.removeprefix("CMD ")).words
    own = {"host": "127.0.0.1", "port": 0, "dashboard_port": 0}
    del given["data_dir"]
    with Server(tmp_path / "data", **{**given, **own}) as server:

        def healthy() -> bool:
            environment = {"PATH": os.path.dirname(sys.executable), "ISOLET_PORT": server.url.rpartition(":")[2]}
            return subprocess.run(words, env=environment, capture_output=True, timeout=60, check=False).returncode == 0

        assert healthy()
        server.process.send_signal(getattr(signal, FINAL.last("STOPSIGNAL").text))
        assert server.wait(60) == 0
        assert not healthy()


def test_compose_gives_the_server_what_it_needs() -> None:
    service, postgres = COMPOSE["services"]["isolet"], COMPOSE["services"]["postgres"]
    known = {settings.PREFIX + one.name.upper() for one in settings.fields()}
    assert set(service["environment"]) <= known
    assert {port.rpartition(":")[2] for port in service["ports"]} == set(FINAL.last("EXPOSE").words)
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert [volume.rpartition(":")[2] for volume in service["volumes"]] == [FINAL.last("VOLUME").text]
    assert {volume.partition(":")[0] for one in (service, postgres) for volume in one["volumes"]} == set(
        COMPOSE["volumes"]
    )
    assert set(service["depends_on"]) <= set(COMPOSE["services"])
    # Without its profile it does not start, and the server does not wait for it.
    assert postgres["profiles"] == ["postgres"]
    assert service["depends_on"]["postgres"]["required"] is False
    # The sandbox needs namespaces and a whole /proc.
    assert {"seccomp:unconfined", "apparmor:unconfined", "systempaths=unconfined"} < set(service["security_opt"])
    # A running call gets as long as the server gives it.
    assert int(service["stop_grace_period"].removesuffix("s")) > settings.Settings().drain_timeout_s
