import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from isolet import settings
from isolet.cli.main import app
from isolet.errors import SettingsError
from isolet.settings import Secret, Settings, load, misspelt
from tests.support.settings_page import PAGE, settings_page

NAMES = [field.name for field in settings.fields()]
_EXAMPLES: dict[type, tuple[str, Any]] = {
    str: ("text", "text"),
    int: ("12", 12),
    float: ("1.5", 1.5),
    bool: ("yes", True),
    Path: ("/some/where", Path("/some/where")),
    Secret: ("hidden", "hidden"),
}


NETWORKS = {"ISOLET_EGRESS_ALLOW": "egress_networks", "ISOLET_TRUSTED_PROXIES": "trusted_networks"}


def _example(field: dataclasses.Field[Any]) -> tuple[str, Any]:
    """A text that can be read, and the value that it means; not the default."""
    choices = field.metadata["choices"]
    if choices:
        chosen = next(choice for choice in choices if choice != field.default)
        return chosen, chosen
    if field.name in ("egress_allow", "trusted_proxies"):
        return "10.0.0.0/8", "10.0.0.0/8"
    if field.name in ("public_url", "dashboard_url"):
        return "https://here.example", "https://here.example"
    if field.name == "dashboard_port":
        return "7900", "7900"
    if field.name == "rate_limits":
        return "free=5", "free=5"
    if field.name == "callback_schedule_s":
        return "0,2.5", "0,2.5"
    return _EXAMPLES[settings.value_type(field)]


@pytest.mark.parametrize("field", settings.fields(), ids=NAMES)
def test_every_setting_is_a_variable(field: dataclasses.Field[Any]) -> None:
    text, value = _example(field)
    assert getattr(load({f"ISOLET_{field.name.upper()}": text}), field.name) == value != field.default


@pytest.mark.parametrize("field", settings.fields(), ids=NAMES)
def test_every_setting_is_a_flag_that_wins_over_its_variable(field: dataclasses.Field[Any]) -> None:
    text, value = _example(field)
    default = "" if field.default is None else str(field.default)
    assert getattr(load({f"ISOLET_{field.name.upper()}": default}, {field.name: text}), field.name) == value


def test_every_setting_is_a_flag_of_the_command() -> None:
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    options = {parameter.name: parameter.opts for parameter in command.commands["serve"].params}
    shown = {name: ["--" + name.replace("_", "-")] for name in ["example", "config", *NAMES]}
    assert {name: opts for name, opts in options.items() if name != "help"} == shown


@pytest.mark.parametrize("field", settings.fields(), ids=NAMES)
def test_every_setting_is_described_by_a_sentence(field: dataclasses.Field[Any]) -> None:
    assert re.fullmatch(r"[A-Z`].+\.", field.metadata["doc"])


def test_the_reference_page_shows_the_settings_as_they_are() -> None:
    assert PAGE.read_text() == settings_page(), "run scripts/settings-page"


def test_defaults_hold_when_nothing_is_given() -> None:
    assert load({}) == Settings()


def test_an_empty_variable_counts_as_none() -> None:
    assert load({"ISOLET_PORT": "", "ISOLET_API_KEY": ""}) == Settings()


def test_an_empty_flag_counts_as_none() -> None:
    assert load({"ISOLET_API_KEY": "by variable"}, {"api_key": "", "host": "", "port": ""}) == load(
        {"ISOLET_API_KEY": "by variable"}
    )


def test_variables_of_others_are_passed_over() -> None:
    assert load({"PORT": "1", "ISOLET_UNKNOWN": "x"}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("port", "http", "'http' is not a whole number"),
        ("port", "-1", "'-1' is below 0"),
        ("port", "65536", "'65536' is above 65535"),
        ("max_body_mb", "0", "'0' is below 1"),
        ("max_body_mb", "1.5", "'1.5' is not a whole number"),
        ("idle_timeout_s", "soon", "'soon' is not a number"),
        ("idle_timeout_s", "nan", "'nan' is not a number"),
        ("drain_timeout_s", "inf", "'inf' is not a number"),
        ("retention_days", "1e300", "'1e300' is above 2147483647"),
        ("retention_rows", "2147483648", "'2147483648' is above 2147483647"),
        ("drain_timeout_s", "-0.1", "'-0.1' is below 0"),
        ("metrics_public", "perhaps", "'perhaps' is not yes or no"),
        ("sandbox", "maybe", "'maybe' is not one of on, off"),
        ("log_level", "loud", "'loud' is not one of debug, info, warning, error"),
    ],
)
def test_a_bad_value_is_told_with_its_source(name: str, text: str, complaint: str) -> None:
    variable, flag = f"ISOLET_{name.upper()}", "--" + name.replace("_", "-")
    with pytest.raises(SettingsError) as by_variable:
        load({variable: text})
    with pytest.raises(SettingsError) as by_flag:
        load({}, {name: text})

    assert by_variable.value.message == f"cannot read {variable}: {complaint}"
    assert by_flag.value.message == f"cannot read {flag}: {complaint}"


@pytest.mark.parametrize("text", ["1", "true", "YES", " on "])
def test_yes_has_many_words(text: str) -> None:
    assert load({"ISOLET_METRICS_PUBLIC": text}).metrics_public is True


@pytest.mark.parametrize("text", ["0", "False", "no", "off"])
def test_no_has_many_words(text: str) -> None:
    assert load({"ISOLET_METRICS_PUBLIC": text}).metrics_public is False


@pytest.mark.parametrize(("variable", "shown"), NETWORKS.items())
def test_networks_are_read_in_canonical_form(variable: str, shown: str) -> None:
    assert getattr(load({variable: " 10.1.2.3/8, ,::1,"}), shown) == ("10.0.0.0/8", "::1/128")


@pytest.mark.parametrize("variable", NETWORKS)
@pytest.mark.parametrize("text", ["localhost", "10.0.0.0/33", "10.0.0.0/8;::1"])
def test_a_bad_network_is_told_at_start(variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"{variable}: {text!r} is not a network")):
        load({variable: text})


@pytest.mark.parametrize("text", ["example.com", "ftp://example.com", "https://", "http://[::1", "http://x/?a=b"])
def test_a_public_address_that_is_none_is_told_at_start(text: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"ISOLET_PUBLIC_URL: {text!r} is not an address")):
        load({"ISOLET_PUBLIC_URL": text})


@pytest.mark.parametrize("text", ["http://127.0.0.1:8080", "https://functions.example/base/"])
def test_a_public_address_is_taken_as_it_is(text: str) -> None:
    assert load({"ISOLET_PUBLIC_URL": text}).public_url == text


def test_sizes_are_mebibytes() -> None:
    assert Settings(max_body_mb=2).max_body_bytes == 2_097_152


def test_a_secret_prints_as_stars() -> None:
    secret = load({"ISOLET_API_KEY": "hidden"}).api_key
    assert secret is not None
    assert (str(secret), repr(secret), f"{secret}", secret.reveal()) == ("***", "'***'", "***", "hidden")
    assert type(secret.reveal()) is str


def test_settings_print_without_their_secrets() -> None:
    values = {f"ISOLET_{name}": "hidden" for name in ("API_KEY", "MASTER_KEY", "DATABASE_URL")}
    assert "hidden" not in repr(load(values))


def test_rate_limits_are_read_by_plan() -> None:
    assert load({"ISOLET_RATE_LIMITS": "free=5, pro = 7"}).requests_a_minute == {"free": 5, "pro": 7}


@pytest.mark.parametrize("text", ["free", "unlimited=5", "gold=5", "free=0", "free=-1", "free=x"])
def test_a_bad_rate_limit_is_told_at_start(text: str) -> None:
    with pytest.raises(SettingsError, match="RATE_LIMITS"):
        load({"ISOLET_RATE_LIMITS": text})


@pytest.mark.parametrize("text", ["soon", "0,,5", "0,-1", "nan"])
def test_a_schedule_of_callbacks_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^cannot read ISOLET_CALLBACK_SCHEDULE_S: "):
        load({"ISOLET_CALLBACK_SCHEDULE_S": text})


def test_variables_that_nothing_reads_are_told_with_the_nearest() -> None:
    far = "ISOLET_" + "Q" * 24
    given = {"ISOLET_MAX_BODY": "1", far: "", "ISOLET_PORT": "1", "ISOLET_URL": "http://x", "PATH": "/"}
    assert misspelt(given) == {"ISOLET_MAX_BODY": "ISOLET_MAX_BODY_MB", far: None}
