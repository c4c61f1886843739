"""The jobs of runs: one step each, or the end of a wait."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from isolet.domain.flows.run_variables import dump
from isolet.domain.jobs import Job, JobKind, lane
from isolet.ids import ExecutionId, FunctionId, JobId, ProjectId, new_id

FLOW = JobKind("flow")
# One for all runs of a project: a step may wait for somebody else's server, and other projects have theirs to make.
LANE = "runs"


class Resumed(Struct, frozen=True, kw_only=True):
    """Why a node that waited is performed again: `user_input`, `timeout`, `child` or `operator`.

    `message` is what came with it: `{kind, data}` of an answer. `child_id` is the run that a `call` waited for.
    """

    reason: str
    message: Any = None
    child_id: ExecutionId | None = None


class Asked(Struct, frozen=True, kw_only=True):
    """What a job of a run is to do: the run's newest step, after what `resumed` says when that had waited."""

    execution_id: ExecutionId
    workflow_id: str
    resumed: Resumed | None

    @classmethod
    def of(cls, job: Job) -> Asked:
        told = json.loads(job.payload)
        resumed = json.loads(job.body) if job.body else None
        return cls(
            execution_id=ExecutionId(told["execution_id"]),
            workflow_id=told["workflow_id"],
            resumed=None if resumed is None else Resumed(**resumed),
        )


def flow_job(
    project_id: ProjectId,
    workflow_id: str,
    execution_id: ExecutionId,
    now_ms: int,
    *,
    due_ms: int | None = None,
    resumed: Resumed | None = None,
) -> Job:
    """The job that performs the newest step of a run; at `due_ms` when that is later."""
    told: Mapping[str, Any] = {"execution_id": execution_id, "workflow_id": workflow_id}
    body = b""
    if resumed is not None:
        why = {"reason": resumed.reason, "message": resumed.message, "child_id": resumed.child_id}
        body = dump(why).encode()
    return Job(
        id=JobId(new_id()),
        kind=FLOW,
        project_id=project_id,
        function_id=FunctionId(""),
        function_name="",
        lane=lane(project_id, LANE),
        target=execution_id,
        payload=dump(told),
        body=body,
        created_at_ms=now_ms,
        due_at_ms=now_ms if due_ms is None else due_ms,
    )


def parent_job(
    project_id: ProjectId,
    callers: Sequence[Mapping[str, str]],
    parent_id: ExecutionId,
    child_id: ExecutionId,
    now_ms: int,
) -> Job:
    """The job by which a run goes on that called another one; `callers` are those of the called one."""
    resumed = Resumed(reason="child", child_id=child_id)
    return flow_job(project_id, callers[-1]["workflow_id"], parent_id, now_ms, resumed=resumed)
