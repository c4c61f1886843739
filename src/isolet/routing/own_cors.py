"""Whether a function has rules of its own for pages of other origins.

Its code says so: one that sets no `Access-Control-…` header and answers no OPTIONS has none. A function that has some
may also refuse a page by saying nothing. That cannot be told from its reply, so the code decides.
"""

from __future__ import annotations

import asyncio
import re

from isolet.database import versions as stored
from isolet.database.connection import Database
from isolet.errors import NotFound
from isolet.ids import FunctionId
from isolet.routing.routes import Route

_RULES = re.compile(r"""access-control-|["'`]options["'`]|\.options\(""", re.IGNORECASE)
_KEPT = 10_000
_STEP_CHARS = 65_536
# No match is longer.
_LONGEST = 32


class OwnCors:
    """Asks the database once for each version that a page of another origin calls."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[FunctionId, int], bool] = {}

    async def has(self, route: Route) -> bool:
        """Nothing is granted in the name of a function that has just gone."""
        if route.version is None:
            return False
        key = (route.function_id, route.version)
        known = self._known.get(key)
        if known is None:
            try:
                bundle = await self._database.read(stored.get_bundle, *key)
            except NotFound:
                return True
            known = await asyncio.to_thread(_names_rules, bundle)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = known
        return known


def _names_rules(bundle: str) -> bool:
    """One search goes no further than a step, since nothing else runs meanwhile."""
    steps = range(0, len(bundle), _STEP_CHARS)
    return any(_RULES.search(bundle, at, at + _STEP_CHARS + _LONGEST) is not None for at in steps)
