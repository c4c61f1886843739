"""How the places of a queue are shared between projects, and between what each has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush


def shares(
    lanes: Sequence[str], limit: int, *, running: Mapping[str, int], room: Callable[[str], int]
) -> dict[str, int]:
    """How many jobs to take from each lane: always from the project that has the fewest, then from its least lane.

    `running` counts jobs by project; `room` tells how many more a lane may run. Takes time for each lane once.
    """
    left = {name: room(name) for name in lanes}
    by_project: dict[str, list[tuple[int, int, str]]] = {}
    for place, name in enumerate(lanes):
        if left[name] > 0:
            by_project.setdefault(name.partition(":")[0], []).append((0, place, name))
    loads = [(running.get(project, 0), place, project) for place, project in enumerate(by_project)]
    heapify(loads)
    taken: dict[str, int] = {}
    while loads and limit > 0:
        limit -= 1
        load, order, project = heappop(loads)
        own = by_project[project]
        count, place, name = heappop(own)
        taken[name] = count + 1
        if count + 1 < left[name]:
            heappush(own, (count + 1, place, name))
        if own:
            heappush(loads, (load + 1, order, project))
    return taken
