"""A tree of plain files stands for the kernel's: what is written where is what is tested here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from isolet.runtime.cgroups import Cgroups, find


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    base = tmp_path / "cgroup" / "isolet.service"
    base.mkdir(parents=True)
    (base / "cgroup.controllers").write_text("cpu memory pids\n")
    (base / "cgroup.subtree_control").write_text("\n")
    return tmp_path / "cgroup"


def own(tmp_path: Path, text: str = "0::/isolet.service\n") -> Path:
    file = tmp_path / "self"
    file.write_text(text)
    return file


def test_a_delegated_controller_is_switched_on_with_the_server_out_of_the_way(mount: Path, tmp_path: Path) -> None:
    assert find(mount=mount, own=own(tmp_path)) is not None
    base = mount / "isolet.service"
    assert (base / "isolet-server" / "cgroup.procs").read_text() == str(os.getpid())
    assert (base / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_threads_have_no_limit_where_their_controller_is_not_delegated(mount: Path, tmp_path: Path) -> None:
    base = mount / "isolet.service"
    (base / "cgroup.controllers").write_text("cpu memory\n")
    assert find(mount=mount, own=own(tmp_path)) is not None
    assert (base / "cgroup.subtree_control").read_text() == "+memory"


@pytest.mark.parametrize(
    ("controllers", "line"),
    [("cpu pids\n", "0::/isolet.service\n"), ("memory\n", "4:memory:/x\n"), ("memory\n", "0::/elsewhere\n")],
)
def test_without_a_controller_of_its_own_there_are_none(
    mount: Path, tmp_path: Path, controllers: str, line: str
) -> None:
    (mount / "isolet.service" / "cgroup.controllers").write_text(controllers)
    assert find(mount=mount, own=own(tmp_path, line)) is None
    assert not (mount / "isolet.service" / "isolet-server").exists()


def test_a_group_has_its_limit_and_takes_its_process(tmp_path: Path) -> None:
    group = Cgroups(tmp_path).make("a", 1000)
    assert group is not None
    group.take(42)
    folder = tmp_path / f"isolet-{os.getpid()}-a"
    written = {file.name: file.read_text() for file in folder.iterdir()}
    assert written == {
        "memory.max": "1000",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "64",
        "cgroup.procs": "42",
    }


@pytest.mark.parametrize(("events", "killed"), [("low 0\noom_kill 1\n", True), ("oom_kill 0\n", False), ("", False)])
def test_a_group_knows_whether_the_kernel_ended_its_process(tmp_path: Path, events: str, killed: bool) -> None:
    group = Cgroups(tmp_path).make("a", 1000)
    assert group is not None
    (tmp_path / f"isolet-{os.getpid()}-a" / "memory.events").write_text(events)
    assert group.killed is killed


def test_what_the_kernel_did_is_known_once_the_group_is_gone(tmp_path: Path) -> None:
    group = Cgroups(tmp_path).make("a", 1000)
    assert group is not None
    folder = tmp_path / f"isolet-{os.getpid()}-a"
    (folder / "memory.events").write_text("oom_kill 2\n")
    group.remove()
    shutil.rmtree(folder)
    assert group.killed


def test_a_refused_group_is_none(tmp_path: Path) -> None:
    assert Cgroups(tmp_path / "not there").make("a", 1000) is None


def test_a_group_that_still_holds_a_process_is_not_given_away(tmp_path: Path) -> None:
    groups = Cgroups(tmp_path)
    assert groups.make("a", 1000) is not None
    assert groups.make("a", 2000) is None
    assert (tmp_path / f"isolet-{os.getpid()}-a" / "memory.max").read_text() == "1000"


def test_a_group_that_an_earlier_process_left_is_made_anew(tmp_path: Path) -> None:
    left = tmp_path / f"isolet-{os.getpid()}-a"
    left.mkdir(mode=0o500)
    assert Cgroups(tmp_path).make("a", 1000) is not None
    assert left.stat().st_mode & 0o777 != 0o500


def test_groups_of_servers_that_are_gone_are_removed(mount: Path, tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    names = {f"isolet-{ended.pid}-1": False, f"isolet-{os.getpid()}-1": True, "isolet-other-1": True}
    for name in names:
        (mount / "isolet.service" / name).mkdir()
    assert find(mount=mount, own=own(tmp_path)) is not None
    assert {name: (mount / "isolet.service" / name).exists() for name in names} == names
