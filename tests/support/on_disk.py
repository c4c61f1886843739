"""Projects of functions on disk, for tests of the commands that deploy them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def write_files(folder: Path, files: dict[str, str | bytes]) -> Path:
    for path, body in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body if isinstance(body, bytes) else body.encode())
    return folder


def link_packages(folder: Path, *names: str) -> None:
    """As a package manager does that keeps packages elsewhere."""
    for name in names:
        place = folder / "node_modules" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(ROOT / "node_modules" / name)
