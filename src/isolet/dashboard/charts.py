"""Small charts as SVG, made here: they need no script, and no style of their own."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT = 96, 24


def sparkline(values: Sequence[float], label: str) -> Markup:
    """A small line of what was in each of some spans of equal length; `label` says it in words."""
    most = max(values, default=0) or 1
    step = _WIDTH / max(len(values) - 1, 1)
    points = " ".join(
        f"{index * step:.1f},{_HEIGHT - 2 - value / most * (_HEIGHT - 4):.1f}" for index, value in enumerate(values)
    )
    area = f"0,{_HEIGHT} {points} {_WIDTH},{_HEIGHT}"
    return Markup(
        '<svg class="sparkline" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{label}">'
        '<polygon points="{area}"/><polyline points="{points}"/></svg>'
    ).format(w=_WIDTH, h=_HEIGHT, label=label, area=area, points=points)
