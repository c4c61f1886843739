"""Shares out the turns of the loop among what many connections bring at once: a few pieces are dealt with in each.

A crowd of a thousand requests, of the last pieces of their bodies or of replies to them would hold everybody else up
for as long as it takes to begin, or to go on with, all of them.
"""

from __future__ import annotations

import asyncio

from isolet.spread import Spread

AT_ONCE = 32
# The count begins anew with the turn that follows one in which it came so far: who comes alone pays for no callback.
_COUNTED = 16


class Crowd(Spread):
    """Where more come in one turn, those beyond are for `later`. Who comes after that turn does not wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def at_once(self) -> bool:
        """Whether one more may be dealt with in this turn."""
        self._count += 1
        if self._count == _COUNTED:
            asyncio.get_running_loop().call_soon(self._begin_anew)
        return self._count <= AT_ONCE

    def _begin_anew(self) -> None:
        self._count = 0
