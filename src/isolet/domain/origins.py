"""For whom a call runs: what the functions that it calls are told, whatever the calling one says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Origin(NamedTuple):
    """`told` are the headers that tell of the client, `scheme` is what it used; `depth` counts the calls on the way.

    `run_depth` counts the runs of workflows on the way that functions started.
    """

    user_id: str | None = None
    depth: int = 0
    told: Sequence[tuple[bytes, bytes]] = ()
    scheme: str = "http"
    run_depth: int = 0

    @property
    def address(self) -> str | None:
        """The client's, where it is known."""
        return next((value.decode("latin-1") for name, value in self.told if name == b"cf-connecting-ip"), None)


NOBODY = Origin()
