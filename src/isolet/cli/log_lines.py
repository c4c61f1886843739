"""What functions print, as lines for people. `isolet dev` shows them like `isolet logs` does."""

from __future__ import annotations

from isolet.cli import shown
from isolet.contract.logs import CallEnd, LogLine, Missed

_COLOURS = {"error": "31", "warn": "33", "debug": "2"}


def text(data: LogLine | CallEnd | Missed, *, colour: bool) -> str:
    """Lines after the first are indented, so that none looks like another entry."""
    if isinstance(data, Missed):
        return _coloured(
            "… some lines are missing" if data.count is None else f"… {data.count} are missing", "2", colour
        )
    what = _end(data) if isinstance(data, CallEnd) else data.message + ("…" if data.truncated else "")
    if isinstance(data, LogLine) and data.stack and data.stack not in what:
        what += "\n" + data.stack
    head = f"{data.at[11:23]} {data.level.ljust(5)} {shown.line(data.function_name)}  "
    return _coloured(head, _COLOURS.get(data.level, "36"), colour) + shown.lines(what).replace("\n", "\n    ")


def _end(call: CallEnd) -> str:
    status = "-" if call.status_code is None else str(call.status_code)
    return f"← {status} {call.duration_ms:g} ms" + (f" {call.error}" if call.error else "")


def _coloured(text_: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text_}\x1b[0m" if colour else text_
