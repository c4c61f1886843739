"""The node that runs another workflow, and waits for its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from isolet.domain.flows.executions import Execution, State
from isolet.domain.flows.run_variables import assigned
from isolet.domain.flows.runs import CALL_DEPTH_MAX, RunStatus
from isolet.domain.flows.workflows import Workflow, WorkflowStatus
from isolet.errors import NotFound
from isolet.flows.performer import Called, Failed, Next, StepContext, StepResult
from isolet.ids import ProjectId


class CallNode:
    """`find` gives a workflow with its graph, by id or slug; `read` a run that was called."""

    def __init__(
        self,
        *,
        find: Callable[[ProjectId, str], Awaitable[Workflow]],
        read: Callable[[str], Awaitable[tuple[Execution, State]]],
    ) -> None:
        self._find = find
        self._read = read

    async def perform(self, step: StepContext) -> StepResult:
        if step.resumed is not None:
            return await self._returned(step)
        config = step.node.config
        try:
            workflow = await self._find(step.execution.project_id, config.get("workflow_id") or config["workflow_slug"])
        except NotFound:
            return _not_called(step, "the workflow was not found", None)
        above = {caller["workflow_id"] for caller in step.callers}
        if workflow.status is not WorkflowStatus.ACTIVE:
            return _not_called(step, f"the workflow is not active (it is {workflow.status})", workflow)
        if workflow.id in (step.execution.workflow_id, *above):
            return _not_called(step, "Workflow call cycle detected", workflow)
        if len(step.callers) >= CALL_DEPTH_MAX:
            return _not_called(step, f"workflows may call each other {CALL_DEPTH_MAX} deep", workflow)
        step.event("workflow_called", {"workflow_id": workflow.id, "workflow_name": workflow.name})
        return Called(workflow=workflow)

    async def _returned(self, step: StepContext) -> StepResult:
        """The run that was called has ended, or an operator lets this one go on without it."""
        child_id = None if step.resumed is None else step.resumed.child_id
        if child_id is None:
            return Next()
        try:
            child, state = await self._read(child_id)
        except NotFound:
            return _failed_call(step, "the called execution was deleted", None)
        if child.status is RunStatus.ENDED:
            names = list(state.spaces.vars)
            step.event("variables_merged", {"names": names, "source": "call", "execution_id": child.id})
            return Next(variables={**step.spaces.vars, **state.spaces.vars})
        return _failed_call(step, str((child.error or {}).get("message", "it failed")), child)


def _not_called(step: StepContext, error: str, workflow: Workflow | None) -> StepResult:
    """A fault of the graph: it fails the step, unless the node keeps errors."""
    if not step.node.config.get("save_error_to"):
        return Failed(error=error, code="call_failed", final=True)
    known = {} if workflow is None else {"workflow_id": workflow.id, "workflow_name": workflow.name}
    return _kept(step, error, known)


def _failed_call(step: StepContext, error: str, child: Execution | None) -> StepResult:
    known = {} if child is None else {"workflow_id": child.workflow_id, "workflow_name": child.workflow_name}
    return _kept(step, error, known)


def _kept(step: StepContext, error: str, known: Mapping[str, Any]) -> StepResult:
    stack = [caller["workflow_name"] for caller in step.callers] + [step.execution.workflow_name]
    told = {"error": error, "workflow_id": None, "workflow_name": None, **known, "call_stack": stack}
    step.event("action_failed", told)
    name = step.node.config.get("save_error_to")
    return Next(variables=assigned(step.spaces.vars, name, told) if name else None)
