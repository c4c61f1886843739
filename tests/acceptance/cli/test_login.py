"""`isolet login`: what is kept, where, and what commands do with it."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from tests.support.isolet_command import Isolet
from tests.support.projects import Project


@pytest.fixture
def fresh(tmp_path: Path) -> Isolet:
    """Without any server."""
    return Isolet(tmp_path)


def test_a_key_of_a_project_is_read_from_standard_input_and_chooses_its_project(
    fresh: Isolet, isolet: Isolet, own_project: Project
) -> None:
    key = own_project.key("deploy")
    done = fresh("login", "--url", own_project.server.url, given=key + "\n")
    assert (key in done.text, own_project.slug in done.text) == (False, True)
    file = fresh.folder / "config/isolet/profiles.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [one["name"] for one in fresh("functions", "list", "--json").json] == ["hello"]
    fresh("logout")
    assert "deploy" not in file.read_text()
    assert fresh.run("functions", "list").code == 6


def test_profiles_are_kept_beside_each_other(fresh: Isolet, isolet: Isolet, own_project: Project) -> None:
    url = own_project.server.url
    fresh("login", "--url", url, "--profile", "one", given=own_project.key("deploy"))
    fresh("login", "--url", url, "--profile", "two", given=own_project.key("read"))
    assert fresh("invoke", "hello", "--profile", "one").json["method"] == "GET"
    assert fresh.run("--profile", "two", "invoke", "hello").code == 5
    assert fresh.run("logout").code == 4


def test_a_login_that_the_server_refuses_keeps_nothing(fresh: Isolet, own_project: Project) -> None:
    assert fresh.run("login", "--url", own_project.server.url, given="wrong").code == 5
    assert fresh.run("login", "--url", "http://127.0.0.1:9", given="wrong").code == 6
    assert fresh.run("login", "--url", own_project.server.url).code == 2
    assert not (fresh.folder / "config").exists()


def test_a_file_of_profiles_that_is_broken_is_told(fresh: Isolet) -> None:
    file = fresh.folder / "config/isolet/profiles.json"
    file.parent.mkdir(parents=True)
    for text in ("{", "[]", '{"profiles": {"default": {}}}', '{"profiles": {"default": []}}', "\0"):
        file.write_text(text)
        result = fresh.run("functions", "list")
        assert (result.code, str(file) in result.err) == (1, True)


KEYRING = """
import os, pathlib, time
_file = pathlib.Path(os.environ["TEST_KEYRING"])
def get_password(service, name):
    return _file.read_text() if _file.exists() else None
def set_password(service, name, key):
    if _file.name == "hangs":
        time.sleep(3600)
    if _file.name == "fails":
        raise RuntimeError("no keyring")
    _file.write_text(key)
def delete_password(service, name):
    _file.unlink()
"""


@pytest.fixture
def with_keyring(fresh: Isolet, monkeypatch: pytest.MonkeyPatch) -> Isolet:
    """A keyring in the place of the library's."""
    (fresh.folder / "keyring.py").write_text(KEYRING)
    monkeypatch.syspath_prepend(str(fresh.folder))
    fresh.variables |= {
        "PYTHONPATH": f"{fresh.folder}:{os.environ.get('PYTHONPATH', '')}",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent",
        "CI": None,
        "TEST_KEYRING": str(fresh.folder / "ring"),
    }
    return fresh


def test_a_keyring_that_answers_holds_the_key(with_keyring: Isolet, isolet: Isolet, own_project: Project) -> None:
    key = own_project.key("deploy")
    done = with_keyring("login", "--url", own_project.server.url, "--json", given=key).json
    assert done["key_in"] == "keyring"
    assert key not in (with_keyring.folder / "config/isolet/profiles.json").read_text()
    assert (with_keyring.folder / "ring").read_text() == key
    assert with_keyring("invoke", "hello").json["method"] == "GET"
    with_keyring("logout")
    assert not (with_keyring.folder / "ring").exists()


@pytest.mark.parametrize("trouble", ["fails", "hangs"])
def test_a_keyring_in_trouble_is_not_waited_for(
    with_keyring: Isolet, isolet: Isolet, own_project: Project, trouble: str
) -> None:
    with_keyring.variables["TEST_KEYRING"] = str(with_keyring.folder / trouble)
    began = time.monotonic()
    done = with_keyring("login", "--url", own_project.server.url, given=own_project.key("deploy"))
    # The keyring sleeps for an hour.
    assert time.monotonic() - began < 600
    assert "profiles.json, which only you can read" in done.text
    assert with_keyring("invoke", "hello").json["method"] == "GET"


def test_a_machine_without_a_desktop_asks_no_keyring(
    with_keyring: Isolet, isolet: Isolet, own_project: Project
) -> None:
    with_keyring.variables["DBUS_SESSION_BUS_ADDRESS"] = None
    done = with_keyring("login", "--url", own_project.server.url, given=own_project.key("deploy"))
    assert "profiles.json" in done.text
    assert "keyring" not in sys.modules
    assert not (with_keyring.folder / "ring").exists()
