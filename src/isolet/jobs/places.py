"""Places of a worker: how many jobs it may run, of each lane and of all, and what their bodies may hold of memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from isolet.domain.body_budget import BodyBudget
from isolet.domain.jobs import Job
from isolet.ids import JobId, ProjectId


class Places:
    """A job has a place while it runs, and its body is counted until its outcome is written.

    `lane_limit` is how many jobs of a lane may run at once. `bodies` may be shared with other workers.
    """

    def __init__(self, capacity: int, lane_limit: Callable[[str], int], bodies: BodyBudget) -> None:
        self._capacity = capacity
        self._lane_limit = lane_limit
        self._lanes: Counter[str] = Counter()
        self._taken: dict[JobId, ProjectId] = {}
        self._counted: set[JobId] = set()
        self.bodies = bodies
        self.projects: Counter[str] = Counter()

    @property
    def free(self) -> int:
        return self._capacity - len(self._taken)

    def room(self, lane: str) -> int:
        return self._lane_limit(lane) - self._lanes[lane]

    def of_project(self, project_id: ProjectId) -> list[JobId]:
        return [job_id for job_id, project in self._taken.items() if project == project_id]

    def fits(self, job: Job) -> bool:
        return self.free > 0 and self.room(job.lane) > 0 and self.bodies.fits(job.project_id, job.body_bytes)

    def take(self, job: Job) -> None:
        self._taken[job.id] = job.project_id
        self._counted.add(job.id)
        self._lanes[job.lane] += 1
        self.projects[job.project_id] += 1
        self.bodies.add(job.project_id, job.body_bytes)

    def give_back(self, job: Job) -> None:
        """The place alone, once."""
        if job.id not in self._taken:
            return
        del self._taken[job.id]
        for counter, name in ((self._lanes, job.lane), (self.projects, str(job.project_id))):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]

    def leave(self, job: Job) -> None:
        """The place, and what the body holds."""
        self.give_back(job)
        if job.id in self._counted:
            self._counted.discard(job.id)
            self.bodies.give_back(job.project_id, job.body_bytes)
