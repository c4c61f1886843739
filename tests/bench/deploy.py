"""Deploys: how long one takes, and how many a second when many are asked for at once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.bench.report import Figure, single
from tests.bench.sides import FUNCTION, isolet_server
from tests.support.kapso import Kapso
from tests.support.waiting import wait_until

_SINGLE = 15
_BATCHES = 3
_BATCH = 12


def run() -> Sequence[Figure]:
    with isolet_server() as server, server.client() as client:
        kapso = Kapso(client)
        warm = kapso.deployed(FUNCTION)
        waits = [_deploy_ms(kapso, warm) for _ in range(_SINGLE)]
        rates = [_deploys_per_s(kapso) for _ in range(_BATCHES)]
    return [single("deploy to `deployed`", "ms", waits), single("deploys at once", "deploys/s", rates)]


def _deploy_ms(kapso: Kapso, function_id: str) -> float:
    """Once more; the status is asked for without a pause, which is fine enough for a deploy."""
    began = time.perf_counter()
    _ask(kapso, function_id)
    while (status := kapso.get(function_id)["status"]) == "draft":
        pass
    assert status == "deployed", status
    return (time.perf_counter() - began) * 1000


def _deploys_per_s(kapso: Kapso) -> float:
    """Of functions that are new; they are deleted after."""
    ids = [kapso.create(FUNCTION)["id"] for _ in range(_BATCH)]
    began = time.perf_counter()
    for function_id in ids:
        _ask(kapso, function_id)
    wait_until(
        lambda: all(item["status"] == "deployed" for item in _list(kapso) if item["id"] in ids),
        timeout_s=60,
        what="all deploys",
    )
    spent_s = time.perf_counter() - began
    for function_id in ids:
        assert kapso.client.delete(f"{kapso.base}/functions/{function_id}").status_code == 204
    return _BATCH / spent_s


def _ask(kapso: Kapso, function_id: str) -> None:
    reply = kapso.client.post(f"{kapso.base}/functions/{function_id}/deploy")
    assert reply.status_code == 202, reply.text


def _list(kapso: Kapso) -> list[dict[str, str]]:
    return list(kapso.client.get(f"{kapso.base}/functions").json()["data"])
