"""A deployed function made of named cases, so that one deploy serves a whole file of tests."""

from __future__ import annotations

from typing import Any

from tests.support.kapso import Kapso

_HANDLER = """
async function handler(request, env) {
  const { name, args } = await request.json();
  try {
    return Response.json({ value: (await cases[name](env, ...args)) ?? null });
  } catch (error) {
    return Response.json({ error: String(error) });
  }
}
"""


class CaseFailed(Exception):
    """The case threw; the text is what its error says."""


class Cases:
    """`source` defines `cases`, an object of functions `(env, ...args)` that give JSON."""

    def __init__(self, kapso: Kapso, source: str, name: str = "Cases") -> None:
        self.kapso = kapso
        self.function_id = kapso.deployed(source + _HANDLER, name)

    def run(self, case: str, *arguments: Any) -> Any:
        """What a case gives. Raises CaseFailed when it throws."""
        reply = self.kapso.invoke(self.function_id, {"name": case, "args": list(arguments)})
        assert reply.status_code == 200, reply.text
        told = reply.json()
        if "error" in told:
            raise CaseFailed(told["error"])
        return told["value"]
