"""The machine's own public addresses are refused as loopback is; a network namespace gives the test some."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.own_addresses import FIRST, LATER

_NAMESPACE = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    try:
        subprocess.run([*_NAMESPACE, "ip", "link", "set", "lo", "up"], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine makes no network namespaces for tests")


def statuses(folder: Path, *allowed: str) -> dict[str, int]:
    ran = subprocess.run(
        [*_NAMESPACE, sys.executable, "-m", "tests.support.own_addresses", str(folder), *allowed],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout.splitlines()[-1]))


def test_every_address_that_leads_to_the_machine_itself_is_refused(run_folder: Path) -> None:
    found = statuses(run_folder)
    assert set(found) == {"127.0.0.1", "[::1]", *FIRST, *LATER}
    assert set(found.values()) == {403}, found


def test_an_own_address_that_the_operator_names_is_reached(run_folder: Path) -> None:
    found = statuses(run_folder, "93.184.216.34/32", "2600:1f18::6/128")
    reached = {host for host, status in found.items() if status == 200}
    assert reached == {"93.184.216.34", "[::ffff:93.184.216.34]", "[2600:1f18::6]"}, found
