"""Charts as SVG, made here: they need no script, and no style of their own."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT = 96, 24
_BAR = Markup('<g><title>{said}</title><rect class="hover" x="{x}" y="0" width="{w}" height="{h}"/>{inside}</g>')
_CHART = Markup(
    '<svg class="bars" viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" aria-label="{title}">{parts}</svg>'
)


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


def bars(series: Sequence[Sequence[float]], labels: Sequence[str], title: str, names: Sequence[str]) -> Markup:
    """Bars over time, stacked: `series` has a list for each name, `labels` one text for each bar."""
    width, height, gap = 720, 160, 1
    totals = [sum(values) for values in zip(*series, strict=True)]
    most = max(totals, default=0) or 1
    step = width / max(len(totals), 1)
    parts = []
    for index, label in enumerate(labels):
        bottom = float(height)
        inside = Markup()
        for number, values in enumerate(series):
            tall = values[index] / most * (height - 4)
            if tall > 0:
                bottom -= tall
                inside += Markup('<rect class="series-{n}" x="{x}" y="{y}" width="{w}" height="{h}"/>').format(
                    n=number, x=f"{index * step:.2f}", y=f"{bottom:.2f}", w=f"{step - gap:.2f}", h=f"{tall:.2f}"
                )
        said = ", ".join(f"{name} {values[index]:g}" for name, values in zip(names, series, strict=True))
        parts.append(
            _BAR.format(said=f"{label}: {said}", x=f"{index * step:.2f}", w=f"{step:.2f}", h=height, inside=inside)
        )
    return _CHART.format(w=width, h=height, title=title, parts=Markup("").join(parts))
