"""`isolet.toml`: what it says, and that what is wrong in it is named by its key."""

from pathlib import Path

import pytest

from isolet.workspace.errors import WorkspaceError
from isolet.workspace.loading import find_root, load
from isolet.workspace.model import RuleType, Schedule, Workspace

WHOLE = """
project = "shop"
access = "public"
compatibility_date = 2026-01-01

[variables]
REGION = "eu"

[functions.hello]
entry = "functions/hello.ts"
description = "Greets"
hosts = ["hello.example.com"]
compatibility_flags = ["nodejs_compat"]
limits = { timeout_ms = 5000 }
variables = { GREETING = "Hello", SHARES = [1, 2.5] }
bindings = { CACHE = { type = "kv", namespace = "cache" } }

[[functions.hello.schedules]]
cron = "*/5 * * * *"
timezone = "Europe/Paris"

[functions.hello.build]
rules = [{ type = "Text", globs = ["**/*.md"] }]

[functions.quiet]
entry = "quiet.js"
access = "none"

[databases.default]
migrations = "migrations"

[env.staging]
project = "shop-staging"
variables = { REGION = "test" }

[env.staging.functions.hello]
access = "key"
limits = { cpu_ms = 100 }
schedules = []
"""


def read(folder: Path, text: str, environment: str | None = None) -> Workspace:
    (folder / "isolet.toml").write_text(text)
    return load(folder, environment=environment)


def test_all_of_it_is_read(tmp_path: Path) -> None:
    workspace = read(tmp_path, WHOLE)
    hello, quiet = workspace.functions
    assert (workspace.project, hello.name, hello.entry) == ("shop", "hello", "functions/hello.ts")
    assert (hello.access, quiet.access, hello.compatibility_date) == ("public", "none", "2026-01-01")
    assert hello.variables == {"REGION": "eu", "GREETING": "Hello", "SHARES": [1, 2.5]}
    assert hello.schedules == (Schedule(name="*/5 * * * *", cron="*/5 * * * *", options={"timezone": "Europe/Paris"}),)
    assert quiet.schedules is None
    assert hello.limits == {"timeout_ms": 5000}
    assert hello.bindings == {"CACHE": {"type": "kv", "namespace": "cache"}}
    assert hello.build.rules == {".md": RuleType.TEXT}
    assert [(one.database, one.folder, one.table) for one in workspace.migrations] == [
        ("default", "migrations", "d1_migrations")
    ]


def test_an_environment_has_names_and_values_of_its_own(tmp_path: Path) -> None:
    workspace = read(tmp_path, WHOLE, "staging")
    hello, quiet = workspace.functions
    assert (workspace.project, hello.name, quiet.name) == ("shop-staging", "hello-staging", "quiet-staging")
    assert (hello.access, hello.schedules) == ("key", ())
    assert hello.limits == {"timeout_ms": 5000, "cpu_ms": 100}
    assert (hello.variables["REGION"], hello.variables["GREETING"]) == ("test", "Hello")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("functions = 3", "isolet.toml: functions must be a table, not 3"),
        ("", "isolet.toml: functions has no function"),
        ("[functions]\nhello = true", "isolet.toml: functions.hello must be a table, not true"),
        ("[functions.hello]\nentry = 3", "isolet.toml: functions.hello.entry must be text, not 3"),
        ("[functions.hello]", "isolet.toml: functions.hello.entry is required"),
        ("[functions.hello]\nentri = 'a.js'", "functions.hello.entri is not known; did you mean entry?"),
        ("[functions.hello]\nentry = '../../etc/passwd'", "functions.hello.entry leads out of the project"),
        ("[functions.hello]\nentry = '/etc/passwd'", "functions.hello.entry leads out of the project"),
        ("[functions.hello]\nentry = 'out.js'", "functions.hello.entry leads out of the project over a link"),
        ("[functions.hello]\nentry = 'loop.js'", "functions.hello.entry leads out of the project over a link"),
        ('[functions.hello]\nentry = "a\\u0000"', "entry is not a path"),
        ('[functions."a b"]\nentry = 3', 'functions."a b".entry must be text'),
        ("[functions.h]\nentry='a.js'\nhosts = ['a', 1]", r"functions.h.hosts must be a list of text, and \[1\] is 1"),
        (
            "[functions.h]\nentry='a.js'\nlimits = {timeout_ms = true}",
            "limits.timeout_ms must be a whole number, not true",
        ),
        (
            "[functions.h]\nentry='a.js'\nlimits = {timeout = 1}",
            "limits.timeout is not known; did you mean timeout_ms?",
        ),
        ("[functions.h]\nentry='a.js'\nvariables = {A = nan}", "variables.A is nan, which JSON does not have"),
        ("[functions.h]\nentry='a.js'\nschedules = [{name='x'}]", r"schedules\[0\].cron is required"),
        ("[functions.h]\nentry='a.js'\nschedules = {}", "functions.h.schedules must be a list, not a table"),
        (
            "[functions.h]\nentry='a.js'\nschedules = [{cron='* * * * *'}, {cron='* * * * *'}]",
            "functions.h.schedules has two of the name",
        ),
        ("[functions.h]\nentry='a.js'\nbuild.rules=[{type='Word', globs=[]}]", r"rules\[0\].type must be one of Text"),
        ("[functions.h]\nentry='a.js'\n[databases.default]", "databases.default.migrations is required"),
        ("[functions.h]\nentry='a.js'\n[env.x.functions.other]\n", None),
        ("[functions.hello\n", "cannot read isolet.toml"),
        ("a = " + "[" * 5000, "cannot read isolet.toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str | None) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (tmp_path / "secret.js").write_text("")
    (folder / "out.js").symlink_to("../secret.js")
    (folder / "loop.js").symlink_to("loop.js")
    if said is None:
        read(folder, text)
        with pytest.raises(WorkspaceError, match=r"env\.x\.functions has 'other', which is none"):
            load(folder, environment="x")
    else:
        with pytest.raises(WorkspaceError, match=said):
            read(folder, text)


def test_an_environment_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="env has no 'prod'; there is staging"):
        read(tmp_path, WHOLE, "prod")
    with pytest.raises(WorkspaceError, match="is not the name of an environment"):
        read(tmp_path, WHOLE, "../x")


def test_the_project_is_found_upwards(tmp_path: Path) -> None:
    (tmp_path / "isolet.toml").write_text(WHOLE)
    inner = tmp_path / "functions" / "deep"
    inner.mkdir(parents=True)
    assert find_root(inner) == tmp_path


def test_no_project_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="isolet init"):
        load(tmp_path)
