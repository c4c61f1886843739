"""`isolet pull` brings sources here, and loses nothing that is only here."""

from pathlib import Path
from urllib.parse import quote

from tests.support.isolet_command import Isolet
from tests.support.on_disk import write_files
from tests.support.projects import Project

TOML = '[functions.app]\nentry = "src/app.ts"\n'
APP = "import { a } from './a';\nexport default { fetch: () => new Response(a) };\n"


def put(project: Project, name: str, body: dict[str, object]) -> None:
    path = f"/isolet/v1/projects/{project.slug}/functions/{quote(name, safe='')}?wait=120"
    reply = project.client.put(path, json=body)
    assert reply.status_code in (200, 201), reply.text


def test_changes_of_others_come_and_own_ones_stay(isolet: Isolet, own_project: Project, folder: Path) -> None:
    write_files(folder, {"isolet.toml": TOML, "src/app.ts": APP, "src/a.ts": "export const a = 'one';\n"})
    isolet("deploy", "--no-probe")
    assert isolet("pull", "--diff").text == "Nothing differs.\n"
    theirs = {"src/app.ts": APP, "src/a.ts": "export const a = 'two';\n", "src/b.ts": "export {};\n"}
    put(own_project, "app", {"files": theirs, "entry": "src/app.ts"})
    shown = isolet("pull", "--diff").text
    assert "-export const a = 'one';\n+export const a = 'two';\n" in shown
    assert (folder / "src/a.ts").read_text() == "export const a = 'one';\n"
    # What was changed here too is named, and nothing is written.
    write_files(folder, {"src/a.ts": "export const a = 'mine';\n"})
    refused = isolet.run("pull")
    assert refused.code == 1
    assert "\n  src/a.ts\n" in refused.err
    assert not (folder / "src/b.ts").exists()
    assert (folder / "src/a.ts").read_text() == "export const a = 'mine';\n"
    assert isolet("pull", "--force").text == "app: version 2, 2 files written, 0 deleted\n"
    assert (folder / "src/a.ts").read_text() == "export const a = 'two';\n"
    # A file that is gone there goes here, unless it was changed.
    put(own_project, "app", {"files": {"src/app.ts": APP, "src/a.ts": theirs["src/a.ts"]}, "entry": "src/app.ts"})
    write_files(folder, {"src/b.ts": "changed"})
    assert "src/b.ts (deleted there)" in isolet.run("pull").err
    write_files(folder, {"src/b.ts": "export {};\n"})
    assert isolet("pull").text == "app: version 3, 0 files written, 1 deleted\n"
    assert not (folder / "src/b.ts").exists()


def test_a_function_that_is_not_here_yet(isolet: Isolet, own_project: Project, folder: Path) -> None:
    put(own_project, "ünï/cödé", {"code": "export default { fetch: () => new Response('there') };"})
    isolet("pull", "ünï/cödé")
    entry = "functions/n--c-d/index.js"
    assert (folder / entry).exists()
    assert isolet("deploy", "--no-probe").text.startswith("ünï/cödé: ")
    assert isolet.run("pull", "nobody").code == 4


def test_a_bundle_comes_as_its_sources(isolet: Isolet, own_project: Project, folder: Path) -> None:
    toml = '[functions.built]\nentry = "src/index.ts"\nbuild = { define = { VERSION = "1" } }\n'
    code = "declare const VERSION: number;\nexport default { fetch: () => Response.json(VERSION) };\n"
    write_files(folder, {"isolet.toml": toml, "src/index.ts": code})
    isolet("deploy", "--no-probe")
    (folder / "src/index.ts").unlink()
    (folder / ".isolet/workspace.json").unlink()
    isolet("pull")
    assert (folder / "src/index.ts").read_text() == code
    assert sorted(path.name for path in folder.iterdir()) == [".isolet", "isolet.toml", "src"]


def test_files_that_do_not_belong_here_are_not_written(isolet: Isolet, own_project: Project, folder: Path) -> None:
    hostile = {"index.js": "export default { fetch() {} };", ".git/hooks/pre-commit": "rm -rf", "a/.envrc": "x"}
    put(own_project, "hostile", {"files": hostile})
    done = isolet("pull", "hostile")
    assert "left out: functions/hostile/.git/hooks/pre-commit" in done.err
    assert not list(folder.rglob(".envrc")) + list(folder.rglob("pre-commit"))
    # Nor over a link that leads away.
    outside = folder.parent / "outside"
    outside.mkdir()
    put(own_project, "linked", {"files": {"src/index.js": "export default { fetch() {} };"}, "entry": "src/index.js"})
    write_files(folder, {"isolet.toml": '[functions.linked]\nentry = "src/index.js"\n'})
    (folder / "src").symlink_to(outside)
    assert isolet.run("pull").code == 1
    assert list(outside.iterdir()) == []
