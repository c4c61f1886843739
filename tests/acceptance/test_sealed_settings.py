"""Settings that nobody is to read in the data directory, through the doors of a real server."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.support.altair import Altair
from tests.support.butterbase import Butterbase
from tests.support.server import Server

TELL = "export default (request, env) => new Response(env.TOKEN);"
OK = "export async function handler() { return new Response('ok'); }"
TOKEN, IN_CLEAR = "variable-of-altair", "variable-of-an-earlier-release"
SECRETS = ("secret-of-the-first-deploy", "secret-of-a-deploy-that-fails", "secret-of-an-earlier-release")


def hook(secret: str) -> list[dict[str, Any]]:
    return [{"type": "webhook", "config": {"provider": "github", "secret": secret, "signature_header": "x-sig"}}]


def _check_files(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"isolet.db", "data.log"} <= {path.name for path in files}
    assert any(b"x-sig" in path.read_bytes() for path in files), "the other members are stored"
    for path in files:
        content = path.read_bytes()
        assert [value for value in (TOKEN, IN_CLEAR, *SECRETS) if value.encode() in content] == [], path


@pytest.mark.parametrize("ends", ["stop", "kill"])
def test_the_data_directory_holds_none_of_them(tmp_path: Path, ends: str) -> None:
    database = tmp_path / "data" / "isolet.db"
    with Server(tmp_path / "data") as server, server.client() as client, server.client("") as public:
        altair, butterbase = Altair(client), Butterbase(client, public)
        altair.running("told", TELL, env={"TOKEN": TOKEN})
        butterbase.deploy("hooked", OK, auth=None, triggers=hook(SECRETS[0]))
        sealed = _sealed(database)
        broken = {"name": "hooked", "code": "throw new Error('broken')", "triggers": hook(SECRETS[1])}
        assert client.post(butterbase.base, json=broken).status_code == 400
        assert _sealed(database) == sealed, "what failed is put back"
        rotated = client.post("/isolet/v1/master-key/rotate", json={})
        assert rotated.json()["data_keys"] == 1, rotated.text
        assert altair.invoke("told").text == TOKEN
        _check_files(tmp_path)
        if ends == "kill":
            server.kill()
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        earlier = json.dumps({"env": {"TOKEN": IN_CLEAR}, "options": {}})
        connection.execute("UPDATE functions SET altair = ? WHERE slug = 'told'", [earlier])
        triggers = json.dumps([{**hook(SECRETS[2])[0], "enabled": True}])
        connection.execute("UPDATE functions SET triggers = ? WHERE slug = 'hooked'", [triggers])
        connection.execute("PRAGMA user_version = 0")

    with Server(tmp_path / "data") as server, server.client() as client, server.client("") as public:
        altair, butterbase = Altair(client), Butterbase(client, public)
        _check_files(tmp_path)
        assert altair.invoke("told").text == IN_CLEAR
        assert client.get(f"{altair.base}/told").json()["env"] == {"TOKEN": IN_CLEAR}
        listed = client.get(altair.base).json()["data"]
        assert {function["name"]: function["env"] for function in listed} == {"told": {"TOKEN": IN_CLEAR}, "hooked": {}}
        assert butterbase.get("hooked")["triggers"] == [{**hook("***")[0], "enabled": False}]
        assert _sealed(database) not in (None, sealed)


def _sealed(database: Path) -> bytes | None:
    """What the function with a webhook has sealed."""
    query = "SELECT sealed_triggers FROM functions WHERE slug = 'hooked'"
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        (value,) = connection.execute(query).fetchone()
    return None if value is None else bytes(value)
