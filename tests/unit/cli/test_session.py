from __future__ import annotations

from isolet.cli.session import PATIENCE_S, connect
from isolet.cli.target import Options
from isolet.domain.limits import BOUNDS

OPTIONS = Options(url="http://127.0.0.1:9", api_key="k")


def test_who_waits_for_a_call_waits_longer_than_any_call_takes() -> None:
    with connect(OPTIONS) as session:
        assert session.patient._http.timeout.read == PATIENCE_S
        assert session.client._http.timeout.read != PATIENCE_S
    assert BOUNDS["timeout_ms"][1] < PATIENCE_S * 1000


def test_a_session_closes_what_it_opened() -> None:
    with connect(OPTIONS) as session:
        opened = [session.client._http, session.patient._http]
    assert [http.is_closed for http in opened] == [True, True]
