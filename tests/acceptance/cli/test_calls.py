"""`isolet invoke` and `isolet logs`, the exit codes, and that a terminal obeys nothing that a function says."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support import starter
from tests.support.isolet_command import Isolet
from tests.support.projects import Project
from tests.support.waiting import wait_until


def test_a_call_prints_the_body_alone(isolet: Isolet, tmp_path: Path) -> None:
    assert isolet("invoke", "hello").json["method"] == "GET"
    shown = isolet("invoke", "hello", "-d", '{"a": "ü"}', "--path", "/x y?b=ü", "-H", "X-Own: a:b").json
    assert shown == {
        "method": "POST",
        "pathname": "/x%20y",
        "search": "?b=%C3%BC",
        "type": "application/json",
        "own": "a:b",
        "body": '{"a": "ü"}',
        "greeting": None,
    }
    assert isolet("invoke", "hello", "-d", "-", "-X", "put", given="no JSON").json["type"].startswith("text/plain")
    file = tmp_path / "body"
    file.write_bytes(b"\0\xff")
    assert isolet("invoke", "hello", "-d", f"@{file}").json["type"] == "application/octet-stream"


def test_bytes_arrive_as_they_are(isolet: Isolet, tmp_path: Path) -> None:
    assert isolet("invoke", "hello", "--path", "/bytes").out == b"\0\x01\xff\x1b\n"
    isolet("invoke", "hello", "--path", "/bytes", "-o", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"\0\x01\xff\x1b\n"
    shown = isolet("invoke", "hello", "--path", "/bytes", "--json").json
    assert (shown["body"], shown["encoding"]) == ("AAH/Gwo=", "base64")


def test_a_call_as_json_names_its_record(isolet: Isolet, own_project: Project) -> None:
    shown = isolet("invoke", "hello", "--json").json
    assert (shown["status"], shown["headers"]["set-cookie"]) == (200, ["a=1", "b=2"])
    assert json.loads(shown["body"])["method"] == "GET"
    record = own_project.client.get(f"/isolet/v1/invocations/{shown['invocation_id']}")
    assert record.json()["status_code"] == 200


def test_a_call_that_fails_exits_with_one_and_one_that_is_answered_does_not(isolet: Isolet) -> None:
    failed = isolet.run("invoke", "hello", "--path", "/throw")
    assert (failed.code, "isolet invocations get" in failed.err) == (1, True)
    assert isolet.run("invoke", "hello", "--path", "/throw", "--json").json["status"] == 500
    broken = isolet.run("invoke", "hello", "--path", "/break")
    assert (broken.code, broken.out, "broke off. isolet invocations get" in broken.err) == (1, b"a part", True)
    assert isolet.run("invoke", "hello", "--path", "/status?503").code == 1
    assert isolet.run("invoke", "hello", "--path", "/status?404").code == 0


def test_an_asynchronous_call_is_waited_for(isolet: Isolet, own_project: Project) -> None:
    call = isolet("invoke", "hello", "--async", "-d", "1").text.strip()
    assert own_project.client.get(f"/isolet/v1/invocations/{call}").json()["kind"] == "async"
    assert isolet("invoke", "hello", "--async", "--wait", "-d", "[2]", "--path", "/a?b").json["body"] == "[2]"
    assert isolet("invoke", "hello", "--async", "--wait", "--path", "/bytes").out == b"\0\x01\xff\x1b\n"
    assert isolet.run("invoke", "hello", "--async", "--wait", "--path", "/throw").code == 1
    assert isolet.run("invoke", "nothing", "--async").code == 4


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["invoke", "nothing"], 4, "isolet functions list"),
        (["functions", "get", "no\nthing"], 4, "isolet functions list"),
        (["--api-key", "wrong", "functions", "list"], 5, "isolet login"),
        (["functions", "list", "--url", "http://127.0.0.1:9"], 6, "isolet serve"),
        (["functions", "list", "--url", "http://127.0.0.1:9", "--profile", "none"], 4, "isolet login --profile none"),
        (["functions", "list", "--url", "not an address"], 6, "--url"),
        (["functions", "lost"], 2, "No such command"),
        (["invoke"], 2, "NAME"),
        (["invoke", "hello", "-d", "@/nonexistent"], 2, "/nonexistent"),
        (["invoke", "hello", "-H", "no header"], 2, "NAME:VALUE"),
        (["invoke", "hello", "-H", "a: b\r\nc: d"], 2, "line break"),
        (["invoke", "hello", "-X", "NO METHOD"], 2, "HTTP"),
        (["logs", "--level", "loud"], 2, "loud"),
        (["functions", "list", "--api-key", "kéy"], 1, "no header"),
        (["functoins", "list"], 2, "functions"),
    ],
)
def test_an_error_has_its_exit_code_and_names_what_to_do(
    isolet: Isolet, arguments: list[str], code: int, said: str
) -> None:
    result = isolet.run(*arguments)
    assert (result.code, result.text) == (code, "")
    assert said in result.err
    assert "Traceback" not in result.err


def test_a_key_that_cannot_be_sent_is_not_shown(isolet: Isolet) -> None:
    for command in (["functions", "list"], ["invoke", "hello"]):
        result = isolet.run(*command, "--api-key", "s3cret\x01\n\tkey")
        assert (result.code, "s3cret" in result.err) == (1, False)


def test_options_stand_at_any_place(isolet: Isolet) -> None:
    for arguments in (
        ["--json", "functions", "list"],
        ["functions", "--json", "list"],
        ["functions", "list", "--json"],
    ):
        assert [one["name"] for one in isolet(*arguments).json][-1] == "hello"


def test_a_key_that_only_calls_calls(isolet: Isolet, own_project: Project) -> None:
    caller = Isolet(isolet.folder, ISOLET_URL=own_project.server.url, ISOLET_API_KEY=own_project.key("invoke") + "\n")
    assert caller("invoke", "hello").json["method"] == "GET"
    assert caller("invoke", "hello", "--async", "--wait").json["method"] == "POST"
    assert caller.run("functions", "delete", "hello").code == 5


def test_an_error_as_json_is_one_line_of_standard_error(isolet: Isolet) -> None:
    result = isolet.run("functions", "get", "nothing", "--json")
    assert json.loads(result.err)["error"]["code"] == "not_found"
    assert result.text == ""


def test_who_reads_and_who_calls_is_told_what_a_key_may_not(isolet: Isolet, own_project: Project) -> None:
    reader = Isolet(isolet.folder, ISOLET_URL=own_project.server.url, ISOLET_API_KEY=own_project.key("read"))
    assert [one["name"] for one in reader("functions", "list", "--json").json] == ["hello"]
    refused = reader.run("invoke", "hello")
    assert (refused.code, "isolet keys create" in refused.err) == (5, True)


def test_logs_show_each_line_so_that_none_looks_like_another(isolet: Isolet, own_project: Project) -> None:
    call = isolet("invoke", "hello", "--json").json["invocation_id"]
    path = f"/isolet/v1/invocations/{call}"
    wait_until(lambda: own_project.client.get(path).is_success, what="the record of the call")
    lines = isolet("logs", "hello", "--limit", "1").text.splitlines()
    assert lines[0].endswith("info  hello  hello \\u001b]0;title\\u0007")
    assert lines[1] == "    of two lines"
    shown = isolet("logs", "--grep", "TITLE", "--since", "1d", "--json").json
    assert call in [line["invocation_id"] for line in shown]
    assert isolet("logs", "hello", "--level", "error", "--since", "2026-01-31T12:00:00Z", "--json").json == []
    assert isolet.run("logs", "--since", "yesterday").code == 1


def at_a_terminal(isolet: Isolet, *arguments: str, asked: bytes = b"", typed: bytes = b"") -> bytes:
    """What a terminal gets, at which this is typed when it was asked for."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, **{name: value for name, value in isolet.variables.items() if value}}
    command = [starter.command(isolet.folder / "isolet"), *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "NO_COLOR": ""}):
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65_536):
                shown += part
                if asked and asked in shown:
                    os.write(ours, typed)
                    asked = b""
        except OSError:
            # The end of a terminal that nobody writes to any more.
            pass
    os.close(ours)
    return shown


def test_a_terminal_obeys_nothing_that_a_function_says(isolet: Isolet) -> None:
    shown = at_a_terminal(isolet, "invoke", "hello", "--path", "/escapes")
    assert shown.decode() == "\\u001b[31mred\\u001b[0m\\u009b\\u202e\\r\r\nnext\tß\r\n"
    # In a table, brackets are markup of the library that draws it.
    isolet("kv", "put", "a\x1b[2J[bold]\r", "", "--metadata", '"[/red]"')
    table = at_a_terminal(isolet, "kv", "list")
    assert (b"METADATA" in table, b"\\u001b[2J[bold]\\r" in table, b"[/red]" in table) == (True, True, True)
    assert b"\x1b[2J" not in table


def test_a_function_without_an_address_says_so(isolet: Isolet, own_project: Project) -> None:
    body = {"code": "export default () => new Response('hidden')", "access": "none"}
    path = f"/isolet/v1/projects/{own_project.slug}/functions/hidden?wait=120"
    assert own_project.client.put(path, json=body).status_code == 201
    refused = isolet.run("invoke", "hidden")
    assert (refused.code, "--async" in refused.err) == (2, True)
    assert isolet("invoke", "hidden", "--async", "--wait").text == "hidden"


def test_an_interrupt_ends_a_command_quietly(isolet: Isolet) -> None:
    environment = {name: value for name, value in isolet.variables.items() if value}
    command = [sys.executable, "-m", "isolet", "realtime", "tail", "room", "--since", "0"]
    isolet("realtime", "publish", "room", "said", "1")
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        guard = threading.Timer(120, following.kill)
        guard.start()
        assert following.stdout.readline() == "1\tsaid\t1\n"
        following.send_signal(signal.SIGINT)
        assert following.communicate() == ("", "")
        guard.cancel()
    assert following.returncode == 130


def test_a_reader_that_has_read_enough_ends_a_command_quietly(isolet: Isolet) -> None:
    environment = {name: value for name, value in isolet.variables.items() if value}
    script = f"{sys.executable} -m isolet schema | head -c 1"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, **environment}, capture_output=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == (b"{", b"")


def test_a_terminal_is_asked_before_something_goes(isolet: Isolet, own_project: Project) -> None:
    path = f"/isolet/v1/projects/{own_project.slug}/functions/going"
    made = own_project.client.put(path + "?wait=120", json={"code": "export default () => new Response()"})
    assert made.status_code == 201
    question = b"Delete the function going?"
    at_a_terminal(isolet, "functions", "delete", "going", asked=question, typed=b"n\n")
    assert own_project.client.get(path).status_code == 200
    set_token = ("secrets", "set", "TOKEN", "--function", "going")
    shown = at_a_terminal(isolet, *set_token, asked=b"Value: ", typed=b"hunter2\n")
    assert (b"Set TOKEN" in shown, b"hunter2" in shown) == (True, False)
    at_a_terminal(isolet, "functions", "delete", "going", asked=question, typed=b"y\n")
    assert own_project.client.get(path).status_code == 404


def test_letters_that_the_output_has_no_bytes_for_are_escaped(isolet: Isolet) -> None:
    isolet("kv", "put", "東", "京")
    environment = {name: value for name, value in isolet.variables.items() if value}
    command = [sys.executable, "-m", "isolet", "kv", "list", "東"]
    done = subprocess.run(
        command, env={**environment, "PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b"\\u6771\t-\t-\n"
