"""`make screenshots`: pictures of every page of the dashboard, light and dark, on a desk and on a phone.

usage: python -m tests.screenshots [FOLDER] [--only TEXT]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.screenshots.content import HOUR_MS, HOURS, SLUG, fill
from tests.screenshots.shots import Shot, shots
from tests.support.browser import Browser
from tests.support.clock import SetClock
from tests.support.dashboard import Desk
from tests.support.realtime import Live
from tests.support.server import ROOT_KEY, Server

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
SCHEMES = ("light", "dark")
_LOGIN = (Shot("sign-in", "/dashboard/login"), Shot("sign-in-link", "/dashboard/login?code=some-code"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/screenshots"))
    parser.add_argument("--only", default="", help="pages whose name holds this text")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        clock = SetClock(work)
        clock.step(-HOURS * HOUR_MS)
        with (
            Server(work / "data", clock=clock) as server,
            Browser(work) as browser,
            browser.page() as page,
            server.client() as root,
        ):
            ids = fill(root, clock)
            desk = Desk(page=page, server=server, slug=SLUG)
            _take_all(desk, _LOGIN, given.folder, given.only)
            desk.sign_in(ROOT_KEY)
            with Live(server.url, SLUG, token=ids.key) as live:
                for channel in ("orders", "kitchen"):
                    live.ask(type="subscribe", channel=channel)
                _take_all(desk, shots(ids), given.folder, given.only)
            expected = ("the server responded with a status of 4", "a 'beforeunload' confirmation panel")
            unexpected = [one for one in page.errors if not any(text in one for text in expected)]
            assert not unexpected, unexpected


def _take_all(desk: Desk, wanted: Iterable[Shot], folder: Path, only: str) -> None:
    for shot in wanted:
        if only in shot.name:
            _take(desk, shot, folder)


def _take(desk: Desk, shot: Shot, folder: Path) -> None:
    """All of the page, from its head to its foot."""
    for scheme in SCHEMES:
        for size, (width, height) in SIZES.items():
            desk.page.resize(width, height, scheme=scheme)
            desk.page.open(desk.server.pages_url + shot.path)
            shot.act(desk)
            # Styles that a script makes are there with the next picture that the browser draws.
            desk.page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            file = folder / f"{shot.name}-{scheme}-{size}.png"
            file.write_bytes(desk.page.picture(whole=True))
            sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main()
