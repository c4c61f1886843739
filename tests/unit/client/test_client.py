import http.server
import threading
from collections.abc import Iterator

import pytest

from isolet.client import ApiError, Client, UnexpectedReply, Unreachable
from isolet.contract.master_key import MasterKeyRotation

ROTATION = MasterKeyRotation()


class _Page(http.server.BaseHTTPRequestHandler):
    """Some other server: a page for everything."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("url", ["http://[::1", "nowhere", "http://127.0.0.1:1"])
def test_an_address_without_a_server_is_told(url: str) -> None:
    with pytest.raises(Unreachable, match=r"^cannot reach "), Client(url, "key") as client:
        client.master_key.rotate(ROTATION)


def test_a_key_that_no_header_holds_is_told() -> None:
    with pytest.raises(ApiError, match=r"^the key cannot be sent"), Client("http://127.0.0.1:1", "schlüssel"):
        pass


def test_another_server_is_told(other: str) -> None:
    with (
        pytest.raises(UnexpectedReply, match=r"^the server answered 200: <html>welcome"),
        Client(other, "key") as client,
    ):
        client.master_key.rotate(ROTATION)
