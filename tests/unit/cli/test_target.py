from __future__ import annotations

from pathlib import Path

import pytest

from isolet.cli.profiles import Profile
from isolet.cli.target import DEFAULT_URL, Options, Target, choose
from isolet.errors import NotFound

HOME = "https://home.example"
AWAY = "https://away.example"
PROFILES = {
    "default": Profile(url=HOME, project="shop", key="home-key"),
    "away": Profile(url=AWAY, key="away-key"),
    "kept": Profile(url=AWAY, project="kept-project"),
}


def chosen(options: Options | None = None, profiles: dict[str, Profile] = PROFILES, **variables: str) -> Target:
    environment = {f"ISOLET_{name.upper()}": value for name, value in variables.items()}
    return choose(options or Options(), environment, profiles, lambda name: f"{name} of the keyring")


def test_what_is_nearest_wins() -> None:
    assert chosen() == Target(url=HOME, key="home-key", project="shop")
    assert chosen(url=AWAY, api_key="k", project="p") == Target(url=AWAY, key="k", project="p")
    assert chosen(Options(profile="away"), url=HOME, api_key="k") == Target(url=AWAY, key="away-key", project=None)
    assert chosen(Options(profile="away", api_key="o", project="q")) == Target(url=AWAY, key="o", project="q")
    assert chosen(profile="away").key == "away-key"
    assert chosen(Options(profile="kept")) == Target(url=AWAY, key="kept of the keyring", project="kept-project")
    assert chosen(profiles={}) == Target(url=DEFAULT_URL, key="", project=None)


def test_another_key_chooses_no_project_of_a_profile() -> None:
    assert chosen(api_key="k") == Target(url=HOME, key="k", project=None)


def test_the_key_of_a_profile_goes_to_no_other_address() -> None:
    assert chosen(Options(url=HOME + "/")).key == "home-key"
    assert chosen(Options(url=AWAY)) == Target(url=AWAY, key="", project=None)
    assert chosen(Options(url="https://home.example.evil.example")).key == ""
    assert chosen(url=AWAY, profile="away").url == AWAY


def test_the_root_key_of_this_machine_goes_to_no_other_unless_its_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "root-key").write_text("root\n")
    assert chosen(profiles={}, data_dir=str(tmp_path)).key == "root"
    for url in (DEFAULT_URL, "http://localhost:1", "http://[::1]:1"):
        assert chosen(Options(url=url), data_dir=str(tmp_path)).key == "root"
    for url in (AWAY, "http://localhost.example:1", "http://127.0.0.1.example", "http://[", "127.0.0.1"):
        assert chosen(Options(url=url), data_dir=str(tmp_path)).key == ""
    assert chosen(Options(url=AWAY, data_dir=tmp_path)).key == "root"


def test_a_profile_that_is_not_there_is_told() -> None:
    with pytest.raises(NotFound, match="isolet login --profile none"):
        chosen(Options(profile="none"))


def test_no_key_is_in_what_python_shows() -> None:
    assert "key" not in repr(chosen()).replace("key=", "")
    assert "home-key" not in repr(PROFILES) + repr(chosen()) + repr(Options(api_key="home-key"))
