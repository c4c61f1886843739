"""`isolet dev`: a server with the project as it is on disk, after every save."""

import sqlite3
from pathlib import Path

import psutil

from tests.support.dev import Dev
from tests.support.on_disk import write_files

TOML = """
[functions.hello]
entry = "fn/hello.ts"
[functions.clock]
entry = "fn/clock.js"
schedules = [{ cron = "0 0 1 1 *", name = "yearly" }]
[databases.default]
migrations = "migrations"
"""
HELLO = """
import { part } from "./part";
export default {
  async fetch(request: Request, env: any): Promise<Response> {
    console.log("called " + request.headers.get("x-api-key"));
    return new Response(part + (env.FROM_ENV ?? ""));
  },
};
"""
CLOCK = """
export default {
  async fetch(request, env) {
    return Response.json((await env.DB.prepare("SELECT * FROM ticks").all()).results);
  },
  async scheduled(controller, env) {
    if (controller.cron === "bad") throw new Error("broken tick");
    await env.DB.prepare("INSERT INTO ticks VALUES (?)").bind(controller.scheduledTime).run();
  },
};
"""


def project(folder: Path) -> None:
    write_files(
        folder,
        {
            "isolet.toml": TOML,
            "fn/hello.ts": HELLO,
            "fn/clock.js": CLOCK,
            "shared/part.ts": "export const part: string = 'one';",
            "migrations/0001_ticks.sql": "CREATE TABLE ticks (at INTEGER);",
        },
    )
    (folder / "fn/part.ts").symlink_to("../shared/part.ts")


def test_saves_are_live(folder: Path, tmp_path: Path) -> None:
    project(folder)
    with Dev(folder, data_dir=tmp_path / "data") as dev:
        # Without a key, which the function does not see; what it prints is shown.
        dev.answers("hello", "one")
        dev.until(lambda: any(one.get("message") == "called null" for one in dev.events), "its line")
        base, _, path = dev.url("hello").partition("/f/")
        own = {"host": "hello.localhost"}
        assert dev.client.get(base, headers=own).text == "one"
        # Only for this machine, under its own names, and not for other sites' pages.
        for headers in ({"host": "evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
            assert dev.client.get(f"{base}/f/{path}", headers=headers).status_code == 401
            assert dev.client.get(f"{base}/cdn-cgi/handler/scheduled", headers=headers).status_code == 404
        assert dev.client.get(f"{base}/isolet/v1/projects").status_code == 401
        # An import behind a link, a variable, a mistake, and its repair.
        (folder / "shared/part.ts").write_text("export const part = 'two';")
        dev.answers("hello", "two")
        (folder / ".env").write_text("# of this machine\nFROM_ENV=' & three'\n")
        dev.answers("hello", "two & three")
        (folder / "shared/part.ts").write_text("export const part = ;")
        failed = dev.event("failed", function="hello")["errors"][0]
        assert (failed["file"], failed["line"], failed["column"]) == ("shared/part.ts", 1, 21)
        # Nothing is deployed that was never on disk: the old import with another new file.
        failures = sum(one.get("event") == "failed" for one in dev.events)
        (folder / "fn/hello.ts").write_text(HELLO.replace('?? ""', '?? "-"').replace("FROM_ENV", "NO_ENV"))
        dev.until(lambda: sum(one.get("event") == "failed" for one in dev.events) > failures, "another failure")
        assert dev.client.get(dev.url("hello")).text == "two & three"
        (folder / "shared/part.ts").write_text("export const part = 'four';")
        dev.answers("hello", "four-")
        (folder / "fn/hello.ts").write_text(HELLO)
        dev.answers("hello", "four & three")
        # The link leads elsewhere now.
        write_files(folder, {"shared/other.ts": "export const part = 'five';"})
        (folder / "fn/new").symlink_to("../shared/other.ts")
        (folder / "fn/new").rename(folder / "fn/part.ts")
        dev.answers("hello", "five & three")
        # An import that is not there yet.
        (folder / "shared/other.ts").write_text("export { part } from './later/six';")
        dev.until(lambda: dev.event("failed", function="hello")["errors"][0]["file"] == "shared/other.ts", "it fails")
        write_files(folder, {"shared/later/six.ts": "export const part = 'six';"})
        dev.answers("hello", "six & three")


def test_schedules_configuration_and_migrations(folder: Path, tmp_path: Path) -> None:
    project(folder)
    data = tmp_path / "data"
    with Dev(folder, data_dir=data) as dev:
        dev.answers("clock", "[]")
        base = dev.url("clock").partition("/f/")[0]
        scheduled = f"{base}/cdn-cgi/handler/scheduled"
        which = dev.client.get(scheduled)
        assert which.status_code == 422
        assert "there is clock, hello" in which.json()["error"]["message"]
        ran = dev.client.get(scheduled, params={"function": "clock", "cron": "* * * * *", "time": "1700000000000"})
        assert (ran.status_code, ran.text) == (200, "ok")
        dev.answers("clock", '[{"at":1700000000000}]')
        bad = dev.client.get(scheduled, params={"function": "clock", "cron": "bad", "format": "json"})
        assert (bad.status_code, bad.json()["outcome"]) == (500, "exception")
        assert "broken tick" in bad.json()["error"]
        for wrong in (
            {"function": "nobody"},
            {"function": "clock", "time": "-1"},
            {"function": "clock", "time": "9" * 17},
        ):
            assert dev.client.get(scheduled, params=wrong).status_code in (404, 422)
        # A migration and a function are added while it runs; a configuration that is wrong changes nothing.
        write_files(folder, {"migrations/0002_more.sql": "ALTER TABLE ticks ADD COLUMN note TEXT DEFAULT 'n';"})
        dev.answers("clock", '[{"at":1700000000000,"note":"n"}]')
        write_files(folder, {"isolet.d.ts": "// out of date"})
        write_files(folder, {"isolet.toml": TOML + "[functions.third]\nentry = 3\n"})
        dev.until(lambda: any("functions.third.entry must be text" in line for line in dev.errors), "the error")
        write_files(folder, {"third.js": "export default { fetch: () => new Response('third') };"})
        write_files(folder, {"isolet.toml": TOML + '[functions.third]\nentry = "third.js"\n'})
        dev.event("deployed", function="third")
        # Types are kept up to date where there are some.
        assert "interface ThirdEnv" in (folder / "isolet.d.ts").read_text()
        children = psutil.Process(dev.process.pid).children(recursive=True)
        assert dev.stop() == 0
        assert not [one for one in children if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    # Its data is kept.
    assert sqlite3.connect(data / "isolet.db").execute("SELECT count(*) FROM functions").fetchone() == (3,)


def test_once_with_a_call_and_a_command(folder: Path, tmp_path: Path) -> None:
    project(folder)
    write_files(folder, {"told.py": "import os, sys; print(os.environ['ISOLET_URL'][:17]); sys.exit(7)"})
    command = "python3 told.py >told.txt"
    # Below the project, its data is the project's all the same.
    with Dev(folder / "fn", "--once", "--run", "hello", data_dir=None) as dev:
        assert dev.wait() == 0
    assert (folder / ".isolet/root-key").exists()
    reply = dev.event_now("reply")
    assert (reply["status"], reply["body"]) == (200, "one")
    # What the call printed came before.
    assert any(one.get("message") == "called null" for one in dev.events)
    write_files(folder, {"fn/hello.ts": "export default {"})
    with Dev(folder, "--once", "--start", f"sh -c '{command}'", data_dir=tmp_path / "data") as dev:
        assert dev.wait() == 1
    assert dev.event_now("failed")["function"] == "hello"
    assert not (folder / "told.txt").exists()
    with Dev(folder, "--until-success", "--start", f"sh -c '{command}'", data_dir=tmp_path / "data") as dev:
        dev.event("failed", function="hello")
        write_files(folder, {"fn/hello.ts": HELLO})
        # It ends as the command does.
        assert dev.wait() == 7
    assert (folder / "told.txt").read_text() == "http://127.0.0.1:\n"


def test_what_cannot_start_says_why(folder: Path, tmp_path: Path) -> None:
    write_files(folder, {"wrangler.toml": 'name = "a"\nmain = "a.js"\n[[r2_buckets]]\nbinding = "FILES"\n'})
    with Dev(folder, data_dir=tmp_path / "data") as dev:
        assert dev.wait() == 3
    assert "r2_buckets: FILES" in "".join(dev.errors)
    with Dev(folder, "--temporary", data_dir=tmp_path / "data") as dev:
        assert dev.wait() == 2
