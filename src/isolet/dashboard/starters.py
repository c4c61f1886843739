"""What a new function may start from."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

_FOLDER = Path(__file__).parent / "starters"


class Starter(Struct, frozen=True, kw_only=True):
    name: str
    file: str
    title: str
    text: str

    @property
    def code(self) -> str:
        return (_FOLDER / f"{self.name}{Path(self.file).suffix}").read_text()


STARTERS = (
    Starter(name="hello", file="index.js", title="Hello", text="Answers a request with JSON"),
    Starter(name="typescript", file="index.ts", title="TypeScript", text="A small router, with types"),
    Starter(name="counter", file="index.js", title="Counter", text="Counts its calls in KV"),
    Starter(name="scheduled", file="index.js", title="Scheduled", text="Runs by the clock as well"),
    Starter(name="webhook", file="index.js", title="Webhook", text="Receives events and checks a shared secret"),
    Starter(name="handler", file="index.js", title="Handler function", text="async function handler(request, env)"),
)
