"""The requests that pages make to the API in the server's own process."""

from __future__ import annotations

from isolet.access.lent_keys import LentKeys
from isolet.api.asgi import told_to_function
from isolet.dashboard.in_process import InProcess, Origin, Receive, Scope, Send
from isolet.wire.callers import told_of


async def nobody(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise NotImplementedError


def test_functions_are_told_of_the_client_of_the_page_and_not_of_what_was_typed() -> None:
    asked = InProcess(nobody, LentKeys(), lambda: None, Origin(host=b"isolet.example", client=("203.0.113.7", 1)))
    typed = [(b"x-forwarded-for", b"6.6.6.6"), (b"cf_connecting_ip", b"6.6.6.6"), (b"x-own", b"1")]
    with asked.request("GET", "/f/shop/orders", typed, length=None) as scope:
        assert [name for name, _ in scope["headers"]] == [b"x-own", b"host", b"x-api-key"]
        assert told_to_function(scope) == told_of("203.0.113.7")
