"""What benchmarks give, and how it is shown: a table on the terminal and a file of JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from msgspec import Struct, field
from msgspec.structs import asdict
from rich.console import Console
from rich.table import Table

from isolet import __version__

_WIDTH_MIN = 110
# With more, neighbouring rounds are no longer alike.
_STEAL_PERCENT_MAX = 5


class Figure(Struct, frozen=True, kw_only=True):
    """Medians of one quantity. `ratio` is the median of the ratios of neighbouring rounds, not of the medians.

    `bare` is the same for bare workerd or another `side`, where there is such a thing; `target` is the ratio aimed at.
    """

    name: str
    unit: str
    isolet: float
    bare: float | None = None
    ratio: float | None = None
    target: float | None = None
    side: str = "bare workerd"
    more_is_better: bool = False
    rounds: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        if self.ratio is None or self.target is None:
            return None
        return self.ratio >= self.target if self.more_is_better else self.ratio <= self.target


def single(name: str, unit: str, values: Sequence[float]) -> Figure:
    """A quantity that only Isolet has."""
    return Figure(name=name, unit=unit, isolet=statistics.median(values), rounds={"isolet": values})


def compared(
    name: str,
    unit: str,
    *,
    isolet: Sequence[float],
    bare: Sequence[float],
    target: float | None = None,
    side: str = "bare workerd",
    more_is_better: bool = False,
) -> Figure:
    """A quantity that was measured on both sides in turn: the rounds at one index ran one after the other."""
    return Figure(
        name=name,
        unit=unit,
        isolet=statistics.median(isolet),
        bare=statistics.median(bare),
        ratio=statistics.median(ours / theirs for ours, theirs in zip(isolet, bare, strict=True)),
        target=target,
        side=side,
        more_is_better=more_is_better,
        rounds={"isolet": isolet, "bare": bare},
    )


class Steal:
    """How much of the processor time that was asked for a host gave to others: 0 where there is no host."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    @property
    def percent(self) -> float:
        spent = [now - before for now, before in zip(psutil.cpu_times(), self._before, strict=True)]
        passed = dict(zip(self._before._fields, spent, strict=True))
        # What guests take is in `user` already.
        asked = sum(passed.values()) - sum(passed.get(name, 0) for name in ("idle", "iowait", "guest", "guest_nice"))
        return 100 * passed.get("steal", 0) / asked if asked else 0


def show(results: Mapping[str, Sequence[Figure]], stolen: Mapping[str, float]) -> None:
    table = Table("benchmark", "figure", "unit")
    for title in ("isolet", "the other side", "ratio", "target"):
        table.add_column(title, justify="right")
    for benchmark, figures in results.items():
        for figure in figures:
            table.add_row(
                benchmark,
                figure.name,
                figure.unit,
                _number(figure.isolet),
                "" if figure.bare is None else f"{_number(figure.bare)} ({figure.side})",
                "" if figure.ratio is None else f"{figure.ratio:.2f}×",
                "" if figure.target is None else _aim(figure),
            )
        table.add_section()
    console = Console()
    console.width = max(console.width, _WIDTH_MIN)
    console.print(table)
    for benchmark, percent in stolen.items():
        if percent > _STEAL_PERCENT_MAX:
            console.print(f"{benchmark}: the host took {percent:.0f} % of the processor time meanwhile; measure again")


def write(results: Mapping[str, Sequence[Figure]], stolen: Mapping[str, float], path: Path) -> None:
    """Everything that was measured, each round of it, and the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": machine(),
        "stolen_percent": stolen,
        "results": {name: [asdict(figure) for figure in figures] for name, figures in results.items()},
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


def machine() -> dict[str, Any]:
    models = [line.partition(":")[2].strip() for line in _cpu_info() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "isolet": __version__,
    }


def _cpu_info() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()


def _aim(figure: Figure) -> str:
    return f"{'≥' if figure.more_is_better else '≤'} {figure.target:g}× {'met' if figure.met else 'missed'}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
