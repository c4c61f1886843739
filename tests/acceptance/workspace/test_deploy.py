"""`isolet deploy` of a project with an `isolet.toml`, and what it does with what is wrong or hostile."""

from pathlib import Path

from tests.support.isolet_command import Isolet
from tests.support.on_disk import write_files
from tests.support.projects import Project

TOML = """
[functions.greet]
entry = "functions/greet.ts"
access = "public"
limits = { timeout_ms = 5000 }
variables = { GREETING = "Hello", OLD = 1 }
schedules = [{ cron = "0 9 * * 1-5", name = "morning", timezone = "Europe/Paris", payload = { a = 1 } }]

[functions.second]
entry = "functions/second.js"
access = "none"

[env.staging.functions.greet]
variables = { GREETING = "Hi" }
"""
GREET = "export default { fetch: (_: Request, env: any) => new Response(env.GREETING) };"
SECOND = "export default { scheduled() {} };"


def project(folder: Path) -> Path:
    return write_files(folder, {"isolet.toml": TOML, "functions/greet.ts": GREET, "functions/second.js": SECOND})


def test_a_project_of_several_functions(isolet: Isolet, own_project: Project, folder: Path) -> None:
    project(folder)
    base = f"/isolet/v1/projects/{own_project.slug}/functions"
    done = isolet("deploy", "--json").json
    assert [(one["name"], one["outcome"], one["version"], one["answered_version"]) for one in done] == [
        ("greet", "made", 1, 1),
        ("second", "made", 1, None),
    ]
    greet = own_project.client.get(f"{base}/greet").json()
    assert (greet["access"], greet["timeout_ms"]) == ("public", 5000)
    (schedule,) = own_project.client.get(f"/isolet/v1/functions/{greet['id']}/schedules").json()["data"]
    assert (schedule["name"], schedule["timezone"], schedule["payload"]) == ("morning", "Europe/Paris", {"a": 1})
    # A variable that the project had and has no more is removed; one that was set elsewhere stays.
    variables = f"/isolet/v1/functions/{greet['id']}/variables"
    own_project.client.patch(variables, json={"ELSEWHERE": "1"})
    write_files(folder, {"isolet.toml": TOML.replace(", OLD = 1", "").replace("5000", "6000")})
    shown = isolet("deploy", "--dry-run").text
    assert "timeout_ms: 5000 -> 6000\nvariable OLD: removed\n" in shown
    assert isolet("deploy").text.splitlines() == [
        "greet: changed, version 2; version 2 answered 200",
        "second: unchanged, version 1",
    ]
    assert own_project.client.get(variables).json() == {"GREETING": "Hello", "ELSEWHERE": "1"}
    # By name, file and folder; in an environment under another name.
    assert isolet("deploy", "second").text == "second: unchanged, version 1\n"
    assert len(isolet("deploy", "functions", "functions/greet.ts", "--no-probe").text.splitlines()) == 2
    assert (
        isolet("deploy", "greet", "--env", "staging").text == "greet-staging: made, version 1; version 1 answered 200\n"
    )
    assert own_project.client.get(f"/f/{own_project.slug}/greet-staging").text == "Hi"


def test_what_fails_is_shown_with_its_place_and_stops_no_other(
    isolet: Isolet, own_project: Project, folder: Path
) -> None:
    broken = {"functions/greet.ts": "const ok = 1;\nexport default {\n  fetch() { return ü$ + ; },\n};\n"}
    write_files(project(folder), broken)
    failed = isolet.run("deploy", "--no-probe")
    assert failed.code == 1
    assert "second: " in failed.text
    assert '  functions/greet.ts:3:25: Unexpected ";"\n      fetch() { return ü$ + ; },\n' in failed.err
    assert failed.err.splitlines()[-1].index("^") == len("    ") + 24
    # So is what only the server finds.
    write_files(folder, {"functions/greet.ts": "export default { fetch: 1 };\nthrow new Error('at load');"})
    late = isolet.run("deploy", "greet", "--json")
    assert late.code == 1
    assert "at load" in late.json[0]["errors"][0]["message"]


def test_a_script_without_a_project(isolet: Isolet, own_project: Project, folder: Path) -> None:
    write_files(folder, {"hello.js": "export default { fetch: () => new Response('hello') };"})
    assert isolet("deploy", "hello.js").text == "hello: made, version 1; version 1 answered 200\n"
    write_files(
        folder, {"parts/index.ts": "import { a } from './a';\nexport default { fetch: () => new Response(a) };"}
    )
    write_files(folder, {"parts/a.ts": "export const a = 'parts';"})
    assert isolet("deploy", "parts").text == "parts: made, version 1; version 1 answered 200\n"
    missing = isolet.run("deploy")
    assert missing.code == 4
    assert "isolet init" in missing.err
    assert isolet.run("deploy", "nowhere").code == 4
    write_files(folder, {"cloudflare.config.ts": "throw 1"})
    code = isolet.run("deploy")
    assert (code.code, "wrangler.jsonc" in code.err) == (3, True)


def test_files_that_are_not_the_projects_stay_here(isolet: Isolet, own_project: Project, folder: Path) -> None:
    (folder.parent / "secret.json").write_text('{"key": "hidden"}')
    (folder / "link.json").symlink_to(folder.parent / "secret.json")
    for path in ("../secret.json", "./link.json"):
        write_files(
            folder, {"steal.js": f"import s from '{path}';\nexport default {{ fetch: () => Response.json(s) }};"}
        )
        failed = isolet.run("deploy", "steal.js")
        assert failed.code == 1
        assert "is outside of the project" in failed.err
        assert "hidden" not in failed.err + failed.text
    (folder / "loop.js").symlink_to(folder / "loop.js")
    assert isolet.run("deploy", "loop.js").code == 4
    assert own_project.client.get(f"/f/{own_project.slug}/steal").status_code == 404


def test_what_is_about_all_functions_has_its_exit_code(isolet: Isolet, own_project: Project, folder: Path) -> None:
    project(folder)
    ours = ("--project", own_project.slug)
    assert isolet.run("deploy", *ours, "--api-key", "nobody").code == 5
    assert isolet.run("deploy", *ours, "--api-key", own_project.key("read")).code == 5
    assert isolet.run("deploy", "--project", "p-nowhere").code in (4, 5)
    assert isolet.run("deploy", "--url", "http://127.0.0.1:9", *ours).code == 6


def test_links_within_the_project_are_followed(isolet: Isolet, own_project: Project, folder: Path) -> None:
    write_files(folder, {"shared/a.js": "export const a = 'linked';", "fn/index.js": ""})
    write_files(
        folder, {"fn/index.js": "import { a } from './b.js';\nexport default { fetch: () => new Response(a) };"}
    )
    (folder / "fn/b.js").symlink_to("../shared/a.js")
    write_files(folder, {"isolet.toml": '[functions.linked]\nentry = "fn/index.js"\naccess = "public"\n'})
    assert "bundled here because of the import of ./b.js" in isolet("deploy").text
    assert own_project.client.get(f"/f/{own_project.slug}/linked").text == "linked"


def test_two_thousand_files(isolet: Isolet, own_project: Project, folder: Path) -> None:
    many = {f"parts/p{number}.js": f"export default {number};" for number in range(2001)}
    lines = [f"import p{number} from './parts/p{number}.js';" for number in range(2001)]
    total = "+".join(f"p{number}" for number in range(2001))
    write_files(
        folder, {**many, "many.js": "\n".join(lines) + f"\nexport default {{ fetch: () => Response.json({total}) }};"}
    )
    assert "bundled here because of 2002 files" in isolet("deploy", "many.js", "--access", "public").text
    assert own_project.client.get(f"/f/{own_project.slug}/many").json() == sum(range(2001))


def test_names_that_are_odd(isolet: Isolet, own_project: Project, folder: Path) -> None:
    code = "export default { fetch: () => new Response('odd') };"
    write_files(folder, {"--minify.js": code, "a b/ü [x].js": code})
    write_files(
        folder,
        {"isolet.toml": '[functions."ünï cödé/x"]\nentry = "a b/ü [x].js"\n[functions.dash]\nentry = "--minify.js"\n'},
    )
    done = isolet("deploy", "--json").json
    assert [(one["outcome"], one["answered_status"]) for one in done] == [("made", 200), ("made", 200)]
