"""How the places of a queue are shared between projects, and between what each has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence


def shares(
    lanes: Sequence[str], limit: int, *, running: Mapping[str, int], room: Callable[[str], int]
) -> dict[str, int]:
    """How many jobs to take from each lane: always from the project that has the fewest, then from its least lane.

    `running` counts jobs by project; `room` tells how many more a lane may run.
    """
    left = {name: room(name) for name in lanes}
    by_project: dict[str, list[str]] = {}
    for name in lanes:
        if left[name] > 0:
            by_project.setdefault(name.partition(":")[0], []).append(name)
    load = {project: running.get(project, 0) for project in by_project}
    taken: dict[str, int] = {}
    for _ in range(limit):
        if not load:
            break
        project = min(load, key=load.__getitem__)
        name = min(by_project[project], key=lambda one: taken.get(one, 0))
        taken[name] = taken.get(name, 0) + 1
        load[project] += 1
        if taken[name] == left[name]:
            by_project[project].remove(name)
            if not by_project[project]:
                del load[project]
    return taken
