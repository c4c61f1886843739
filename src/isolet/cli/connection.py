"""How commands find the server and the key: variables, else what the data directory holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from isolet.errors import SettingsError

if TYPE_CHECKING:
    from isolet.client import Client

DEFAULT_URL = "http://127.0.0.1:7878"


def connect(url: str, data_dir: Path) -> Client:
    """Raises SettingsError when no key is to be had."""
    key = os.environ.get("ISOLET_API_KEY", "")
    if not key:
        try:
            key = (data_dir / "root-key").read_text().strip()
        except OSError as exc:
            raise SettingsError(
                f"cannot read the root key in {data_dir}: {exc.strerror}. Set ISOLET_API_KEY or --data-dir"
            ) from exc
    # Not at the top: `isolet serve` loads every command, and has no use for a client.
    from isolet.client import Client

    return Client(url, key)
