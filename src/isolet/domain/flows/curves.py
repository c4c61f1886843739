"""The curves that lead from box to box in the picture of a workflow."""

from __future__ import annotations

from typing import NamedTuple

from isolet.domain.flows.layout import HEIGHT, WIDTH, Place


class Curve(NamedTuple):
    """A cubic curve: where it begins, its two handles, where it ends."""

    points: tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]

    def middle(self) -> tuple[int, int]:
        (a, b), (c, d), (e, f), (g, h) = self.points
        return round((a + 3 * c + 3 * e + g) / 8), round((b + 3 * d + 3 * f + h) / 8)


def curve_between(source: Place, target: Place, nth: int) -> Curve:
    """From box to box: to the right where the target is there, else down, up, or back below both.

    `nth` counts the curves between the same two boxes from 0, and keeps them apart.
    """
    bend = nth * 44
    left, middle, right = source.x, source.x + WIDTH // 2, source.x + WIDTH
    ends_middle = target.x + WIDTH // 2
    if target.x >= right:
        return _rightward(source, target, bend)
    if target.y >= source.y + HEIGHT:
        half = (target.y - source.y - HEIGHT) // 2 + 8
        start, end = (middle, source.y + HEIGHT), (ends_middle, target.y)
        return Curve((start, (middle + bend, start[1] + half), (ends_middle + bend, end[1] - half), end))
    if target.y + HEIGHT <= source.y and abs(target.x - left) < WIDTH:
        half = (source.y - target.y - HEIGHT) // 2 + 8
        start, end = (middle, source.y), (ends_middle, target.y + HEIGHT)
        return Curve((start, (middle + bend, start[1] - half), (ends_middle + bend, end[1] + half), end))
    if source == target:
        start, end = (middle + 50, source.y + HEIGHT), (middle - 50, source.y + HEIGHT)
        return Curve((start, (start[0] + 30, start[1] + 52 + bend), (end[0] - 30, end[1] + 52 + bend), end))
    below = max(source.y, target.y) + HEIGHT + 56 + min((left - target.x) // 12, 400) + bend
    return Curve(((middle, source.y + HEIGHT), (middle, below), (ends_middle, below), (ends_middle, target.y + HEIGHT)))


def _rightward(source: Place, target: Place, bend: int) -> Curve:
    right, gap = source.x + WIDTH, target.x - source.x - WIDTH
    if gap > WIDTH and abs(target.y - source.y) < HEIGHT:
        # Another box may be between them: over it.
        above = min(source.y, target.y) - 56 - min(gap // 12, 400) - bend
        start, end = (source.x + WIDTH // 2, source.y), (target.x + WIDTH // 2, target.y)
        return Curve((start, (start[0], above), (end[0], above), end))
    half = gap // 2 + 8
    start, end = (right, source.y + HEIGHT // 2), (target.x, target.y + HEIGHT // 2)
    return Curve((start, (right + half, start[1] + bend), (target.x - half, end[1] + bend), end))
