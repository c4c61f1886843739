"""What a callback says of its function: the name, as any header can hold it."""

import sqlite3
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from tests.support.altair import Altair
from tests.support.kapso import Kapso
from tests.support.receiver import Receiver
from tests.support.server import Server

CODE = "export default { fetch() { return new Response('ok'); } }"


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Plain name", "Plain name"), ("日本", "%E6%97%A5%E6%9C%AC"), ("Größe 1", "Gr%C3%B6%C3%9Fe%201"), (" a", "%20a")],
)
def test_a_callback_names_its_function(
    altair: Altair, space: httpx.Client, receiver: Receiver, name: str, shown: str
) -> None:
    function_id = Kapso(space).deployed(CODE, name, slug="named")
    altair.start("named", callback=receiver.url)
    (delivery,) = receiver.wait()
    assert delivery.headers["x-function-name"] == shown
    assert function_id
    assert delivery.body == b"ok"


def test_a_name_with_line_breaks_of_an_earlier_release_is_called_and_delivered(
    tmp_path: Path, receiver: Receiver
) -> None:
    data, name = tmp_path / "data", "x\r\ncontent-length: 0\r\n\r\nPOST http://a.example/ HTTP/1.1\r\n"
    options = {"egress_allow": "127.0.0.0/8"}
    with Server(data, **options) as first, first.client() as root:
        function_id = Kapso(root).deployed(CODE, "x", slug="old")
    with sqlite3.connect(data / "isolet.db") as database:
        database.execute("UPDATE functions SET name = ? WHERE id = ?", (name, function_id))
    database.close()
    with Server(data, **options) as second, second.client() as root:
        altair = Altair(root)
        for path in (f"/platform/v1/functions/{function_id}/invoke", "/spaces/default/functions/old/invoke"):
            assert root.post(path).text == "ok"
        call = altair.start("old", callback=receiver.url)
        (delivery,) = receiver.wait()
        assert altair.ended(call)["status"] == "succeeded"
        assert unquote(delivery.headers["x-function-name"]) == name
        # It may keep its name, and get a good one.
        changed = root.patch(f"/platform/v1/functions/{function_id}", json={"function": {"name": name, "code": CODE}})
        assert changed.status_code == 200
        changed = root.patch(f"/platform/v1/functions/{function_id}", json={"function": {"name": "New"}})
        assert changed.json()["data"]["name"] == "New"
