"""`make screenshots`: pictures of every page of the dashboard, light and dark, on a desk and on a phone.

usage: python -m tests.screenshots [FOLDER] [--only TEXT]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.screenshots.content import fill
from tests.support.browser import Browser
from tests.support.dashboard import Desk
from tests.support.server import ROOT_KEY, Server

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
SCHEMES = ("light", "dark")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/screenshots"))
    parser.add_argument("--only", default="", help="pages whose name holds this text")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        with Server(work / "data") as server, Browser(work) as browser, browser.page() as page, server.client() as root:
            pages = fill(root, "default")
            desk = Desk(page=page, server=server, slug="default")
            desk.sign_in(ROOT_KEY)
            for title, path in pages.items():
                if given.only in title:
                    _take(desk, title, server.pages_url + path, given.folder)
            assert page.errors == [], page.errors


def _take(desk: Desk, title: str, address: str, folder: Path) -> None:
    for scheme in SCHEMES:
        for size, (width, height) in SIZES.items():
            desk.page.resize(width, height, scheme=scheme)
            desk.page.open(address)
            # Styles that a script makes are there with the next picture that the browser draws.
            desk.page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            file = folder / f"{title}-{scheme}-{size}.png"
            file.write_bytes(desk.page.picture())
            sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main()
