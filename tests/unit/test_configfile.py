import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from isolet import configfile, settings
from isolet.cli.main import app
from isolet.errors import SettingsError
from isolet.settings import load
from tests.support.settings_page import PAGE

_TOML: dict[type, tuple[str, Any]] = {
    str: ('"free=5"', "free=5"),
    int: ("12", 12),
    float: ("3", 3.0),
    bool: ("true", True),
    Path: ('"/some/where"', Path("/some/where")),
    settings.Secret: ('"hidden"', "hidden"),
}
_OWN = {
    "egress_allow": "10.0.0.0/8",
    "trusted_proxies": "10.0.0.0/8",
    "public_url": "https://here.example",
    "dashboard_url": "https://here.example",
    "dashboard_port": 7900,
    "callback_schedule_s": "0,2.5",
    "functions_domain": "fn.example.com",
    "sandbox": "off",
    "upgrade_backup": "off",
    "shared_pages": "plain",
    "log_format": "json",
    "log_level": "error",
}


def written(tmp_path: Path, text: str | bytes) -> Path:
    file = tmp_path / "isolet.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def refused(file: Path) -> str:
    with pytest.raises(SettingsError) as told:
        load({}, {}, configfile.read(file))
    return told.value.message


def test_every_setting_is_a_key_that_flags_and_variables_win_over(tmp_path: Path) -> None:
    lines, wanted = [], {}
    for field in settings.fields():
        text, value = _TOML[settings.value_type(field)]
        if field.name in _OWN:
            value = _OWN[field.name]
            text = str(value) if isinstance(value, int) else f'"{value}"'
        lines.append(f"{field.name} = {text}")
        wanted[field.name] = str(value) if field.name == "dashboard_port" else value
    file = configfile.read(written(tmp_path, "\n".join(lines)))

    found = load({}, {}, file)
    assert {name: getattr(found, name) for name in wanted} == wanted
    assert load({"ISOLET_PORT": "13"}, {}, file).port == 13
    assert load({"ISOLET_PORT": "13"}, {"port": "14"}, file).port == 14
    assert load({"ISOLET_PORT": ""}, {"port": None}, file).port == 12


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("prot = 80", "cannot read FILE: 'prot' is no setting; did you mean port?"),
        ("data-dir = 'x'", "cannot read FILE: 'data-dir' is no setting; did you mean data_dir?"),
        ("[server]\nport = 80", "cannot read FILE: 'server' is no setting; keys are the flags"),
        ("config = 'x'", "cannot read FILE: 'config' is no setting"),
        ("port = '80'", "cannot read port in FILE: it is text, and must be a whole number"),
        ("port = 80.0", "cannot read port in FILE: it is a number, and must be a whole number"),
        ("port = true", "cannot read port in FILE: it is true or false, and must be a whole number"),
        ("port = 65536", "cannot read port in FILE: '65536' is above 65535"),
        ("port = 9223372036854775807", "cannot read port in FILE: '9223372036854775807' is above 65535"),
        ("metrics_public = 1", "cannot read metrics_public in FILE: it is a whole number, and must be true or false"),
        ("idle_timeout_s = nan", "cannot read idle_timeout_s in FILE: 'nan' is not a number"),
        ("host = 1", "cannot read host in FILE: it is a whole number, and must be text in quotes"),
        ("host = 2026-01-01", "cannot read host in FILE: it is a date or a time, and must be text in quotes"),
        ("egress_allow = ['::1']", "cannot read egress_allow in FILE: it is a list, and must be text in quotes"),
        ("egress_allow = 'here'", "cannot read egress_allow in FILE: 'here' is not a network"),
        ("dashboard_port = 70000", "cannot read dashboard_port in FILE: '70000' is not a port"),
        ("dashboard_port = false", "cannot read dashboard_port in FILE: it is true or false, and must be a number, or"),
        ("public_url = 'x'", "cannot read public_url in FILE: 'x' is not an address"),
        ("[data_dir]", "cannot read data_dir in FILE: it is a table, and must be text in quotes"),
        ("port 80", "cannot read FILE: it is not TOML: "),
        ("port = 1\nport = 2", "cannot read FILE: it is not TOML: "),
        ("a = " + "[" * 100_000, "cannot read FILE: it is not TOML: "),
    ],
)
def test_what_cannot_be_used_is_told_with_key_and_file(tmp_path: Path, line: str, complaint: str) -> None:
    file = written(tmp_path, line)
    assert refused(file).startswith(complaint.replace("FILE", str(file)))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert refused(tmp_path / "none") == f"cannot read {tmp_path / 'none'}: No such file or directory"
    assert refused(tmp_path) == f"cannot read {tmp_path}: Is a directory"
    file = written(tmp_path, b"host = '\xff'")
    assert refused(file) == f"cannot read {file}: it is not text in UTF-8"
    assert refused(written(tmp_path, "#" * 1_100_000)) == f"cannot read {file}: it has more than 1048576 bytes"


def test_a_secret_is_not_shown_when_it_has_another_type(tmp_path: Path) -> None:
    assert "4711" not in refused(written(tmp_path, "api_key = 4711"))


def test_a_check_that_comes_later_names_the_place_too(tmp_path: Path) -> None:
    file = configfile.read(written(tmp_path, "master_key = 'short'"))
    late = "cannot read ISOLET_MASTER_KEY: a master key is 32 bytes in base64"
    assert settings.with_source(late, {}, {}, file) == late.replace("ISOLET_MASTER_KEY", f"master_key in {file.path}")
    assert settings.with_source(late, {"ISOLET_MASTER_KEY": "x"}, {}, file) == late
    assert settings.with_source(late, {}, {"master_key": "x"}, file).startswith("cannot read --master-key: ")


def test_secrets_that_all_may_read_are_seen(tmp_path: Path) -> None:
    path = written(tmp_path, "api_key = 'x'")
    for mode, told in ((0o644, True), (0o640, False)):
        path.chmod(mode)
        assert configfile.tells_secrets(configfile.read(path)) is told
    path = written(tmp_path, "port = 1")
    path.chmod(0o644)
    assert configfile.tells_secrets(configfile.read(path)) is False


def test_the_example_of_the_reference_page_can_be_read(tmp_path: Path) -> None:
    example = PAGE.read_text().partition("```toml\n")[2].partition("```")[0]
    assert load({}, {}, configfile.read(written(tmp_path, example))).port == tomllib.loads(example)["port"]


def test_the_command_refuses_a_file_that_it_cannot_use(tmp_path: Path) -> None:
    file = written(tmp_path, "prot = 80")
    told = CliRunner().invoke(app, ["serve", "--config", str(file)])
    assert told.exit_code == 1
    assert told.output == f"isolet: cannot read {file}: 'prot' is no setting; did you mean port?\n"
