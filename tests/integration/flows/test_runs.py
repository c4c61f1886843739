"""Runs on a real engine, over both databases: how they go on, fail, wait, pause and begin again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from isolet.clock import SystemClock
from isolet.database.connection import Connection, Database
from isolet.database.executions import Filter
from isolet.database.tables.executions import executions as execution_table
from isolet.database.tables.executions import flow_graphs as graph_table
from isolet.database.tables.jobs import jobs as job_table
from isolet.database.tables.projects import projects
from isolet.domain.flows.runs import RunStatus, StepStatus
from isolet.domain.project_limits import ProjectLimits
from isolet.errors import Conflict, InvalidInput, LimitReached, NotFound
from isolet.flows.performer import Failed, Next, StepContext, StepResult
from isolet.flows.retention import RunRetention
from tests.integration.flows.running import PROJECT, Flows, decide, function, running, variable

WAIT = ("ask", "wait_for_response", {"save_response_to": "answer"})


async def test_a_run_follows_its_edges_and_keeps_its_variables(database: Database) -> None:
    async with running(database) as flows:
        workflow = flows.workflow(
            variable("greeting", "hello {{vars.name}} ${ENV:NAME}"),
            function("tag"),
            decide("tier", "vip", "yes"),
            variable("path", "vip"),
            variable("way", "yes"),
            edges=["start set_greeting", "set_greeting tag", "tag tier", "tier set_path vip", "tier set_way yes"],
        )

        async def tag(step: StepContext) -> StepResult:
            return Next(variables={**step.spaces.vars, "tagged": step.payload()["flow_info"]})

        flows.scripted.scripts["tag"] = tag
        run = await flows.run(workflow, variables={"name": "Ada"}, context={"phone_number": "1"})

        assert (run.status, run.steps) == (RunStatus.ENDED, 5)
        assert await flows.vars(run) == {
            "name": "Ada",
            "greeting": "hello Ada value of the project",
            "tagged": {"id": workflow.id, "name": "a flow", "step_id": "tag"},
            "way": "yes",
        }
        spaces = (await flows.executions.state(run.id)).spaces
        assert spaces.context == {"channel": "api", "phone_number": "1"}
        assert spaces.system["workflow_execution_id"] == run.id
        steps = await flows.steps(run)
        assert [(step.node_id, step.edge_label) for step in steps] == [
            ("start", "next"),
            ("set_greeting", "next"),
            ("tag", "next"),
            ("tier", "yes"),
            ("set_way", None),
        ]
        assert {(step.status, step.attempts) for step in steps} == {(StepStatus.SUCCEEDED, 1)}
        events = await flows.events(run)
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert (events[0].type, events[-1].type) == ("execution_started", "execution_ended")
        assert flows.scripted.keys == [f"{run.id}:tag:1", f"{run.id}:tier:1"]
        assert await database.read(_jobs) == 0, "the steps tell all that their jobs do"


def _jobs(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(job_table)).scalar_one())


async def test_functions_get_a_conversation_only_where_there_is_one(database: Database) -> None:
    async with running(database) as flows:
        seen: list[Any] = []

        async def look(step: StepContext) -> StepResult:
            seen.append(step.payload())
            return Next()

        flows.scripted.scripts["look"] = look
        inner = flows.workflow(function("look"), slug="inner")
        workflow = flows.workflow(("call", "call", {"workflow_id": inner.id}))
        conversation = {"conversation": {"id": "c\0"}, "messages": [{"content": "\ud800"}]}
        run = await flows.run(workflow, whatsapp_context=conversation)
        assert (run.conversation_id, seen[0]["whatsapp_context"]) == ("c\ufffd", conversation)
        assert seen[0]["execution_context"]["context"] == {"channel": "whatsapp"}
        assert seen[0]["execution_context"]["system"]["trigger_type"] == "call"
        await flows.run(workflow)
        assert "whatsapp_context" not in seen[1]


async def test_policies_say_what_follows_a_failure(database: Database) -> None:
    async with running(database) as flows:
        tries: list[int] = []

        async def flaky(step: StepContext) -> StepResult:
            tries.append(step.attempt)
            return Failed(error="no\0 \ud800 luck") if step.attempt < 3 else Next()

        async def hangs(_: StepContext) -> StepResult:
            await asyncio.Event().wait()
            return Next()

        async def unknown(step: StepContext) -> StepResult:
            return Failed(error="fails")

        flows.scripted.scripts = {"flaky": flaky, "hangs": hangs, "fails": unknown}
        workflow = flows.workflow(
            function("flaky"),
            function("hangs"),
            function("fails"),
            variable("rescued", True),
            edges=["start flaky", "flaky hangs", "hangs fails", "fails flaky"],
        )
        flows.policies[workflow.id] = {
            "flaky": {"retries": 2, "backoff_s": 0},
            "hangs": {"timeout_s": 0.1, "on_error": "continue"},
            "fails": {"on_error": {"go_to": "set_rescued"}},
        }
        run = await flows.run(workflow)

        assert run.status is RunStatus.ENDED
        assert (tries, await flows.vars(run)) == ([1, 2, 3], {"rescued": True})
        assert set(flows.scripted.keys[:3]) == {f"{run.id}:flaky:1"}
        shown = [(step.node_id, step.status, step.attempts, step.error) for step in await flows.steps(run)]
        assert shown[1:] == [
            ("flaky", StepStatus.SUCCEEDED, 3, None),
            ("hangs", StepStatus.FAILED, 1, "the step took longer than 0.1 s"),
            ("fails", StepStatus.FAILED, 1, "fails"),
            ("set_rescued", StepStatus.SUCCEEDED, 1, None),
        ]
        failures = [event.payload["error"] for event in await flows.events(run, "step_failed")]
        assert failures == ["no\ufffd \ufffd luck"] * 2 + ["the step took longer than 0.1 s", "fails"]


async def test_a_failure_fails_the_run_with_the_error_in_its_events(database: Database) -> None:
    async with running(database) as flows:

        async def fails(_: StepContext) -> StepResult:
            return Failed(error="out of luck", code="function_failed")

        flows.scripted.scripts["one"] = fails
        run = await flows.run(flows.workflow(function("one"), function("two")))

        assert run.status is RunStatus.FAILED
        assert run.error is not None
        assert (run.error["message"], run.error["code"]) == ("out of luck", "function_failed")
        assert run.error["node_id"] == "one"
        assert (await flows.events(run))[-1].payload["message"] == "out of luck"


@pytest.mark.parametrize(
    ("name", "told"),
    [("half \ud800", "the step holds a text or a number that cannot be stored"), (None, "internal error")],
)
async def test_what_the_store_refuses_fails_the_step_and_is_not_tried_for_ever(
    database: Database, name: str | None, told: str
) -> None:
    async with running(database) as flows:

        async def refused(step: StepContext) -> StepResult:
            # A column of it must not be null.
            await database.write(lambda connection: connection.execute(insert(projects).values(id="x", name=name)))
            return Next()

        flows.scripted.scripts["odd"] = refused
        run = await flows.run(flows.workflow(function("odd")))
        assert run.status is RunStatus.FAILED
        assert run.error is not None
        assert run.error["message"] == told


async def test_an_edge_that_is_not_there(database: Database) -> None:
    async with running(database) as flows:
        strict = flows.workflow(decide("pick", "a", "b"), edges=["start pick", "pick start a", "pick pick b"])
        run = await flows.run(strict)
        assert run.error is not None
        assert (run.status, run.error["code"]) == (RunStatus.FAILED, "unknown_edge")
        assert run.error["message"] == "next_edge is 'yes', and the node has the edges a, b"

        lenient = flows.workflow(decide("pick", "a"), variable("x", 1), edges=["start pick", "pick set_x a"])
        flows.policies[lenient.id] = {"pick": {"on_unknown_edge": "first"}}
        run = await flows.run(lenient)
        assert (run.status, await flows.vars(run)) == (RunStatus.ENDED, {"x": 1})


async def test_a_cycle_ends_after_a_thousand_steps(database: Database) -> None:
    async with running(database) as flows:
        cycle = ["start ask", "ask set_x", "set_x set_x"]
        workflow = flows.workflow(WAIT, variable("x", "{{vars.y}}"), edges=cycle)
        run = await flows.run(workflow, RunStatus.WAITING)
        await database.write(_made_many_steps)
        await flows.executions.resume(run.id, {"data": 1})
        run = await flows.until(run.id, RunStatus.FAILED)

        assert run.error is not None
        assert (run.steps, run.error["code"]) == (1_000, "too_many_steps")
        assert run.error["message"] == "the run made 1000 steps, which is the most"
        assert (await flows.steps(run))[-1].visit == 20
        assert len(await flows.events(run, "template_missing")) == 20

        await flows.executions.retry(run.id)
        run = await flows.until(run.id, RunStatus.RUNNING)
        await flows.executions.cancel(run.id)
        assert (await flows.executions.get(run.id)).steps > 1_000, "a retry may make as many again"


def _made_many_steps(connection: Connection) -> None:
    connection.execute(execution_table.update().values(steps=980))


async def test_variables_have_a_bound(database: Database) -> None:
    async with running(database) as flows:
        workflow = flows.workflow(function("grow"), function("after"))
        with pytest.raises(InvalidInput, match="variables is too large"):
            await flows.executions.start(workflow, variables={"x": "x" * 10_000_000})
        deep: Any = "x"
        for _ in range(5_000):
            deep = {"x": deep}
        with pytest.raises(InvalidInput, match="nested too deeply"):
            await flows.executions.start(workflow, variables={"deep": deep})
        returned: list[Any] = ["x" * 10_000_000, deep]

        async def grow(step: StepContext) -> StepResult:
            return Next(variables={**step.spaces.vars, "x": returned.pop()})

        flows.scripted.scripts["grow"] = grow
        for message in ("variables is nested too deeply", "variables is too large"):
            run = await flows.run(workflow, variables={"kept": "\0 \ud800 \U0001f600"})
            assert run.error is not None
            assert (run.status, run.error["code"]) == (RunStatus.FAILED, "variables_too_large")
            assert run.error["message"].startswith(message)
            assert await flows.vars(run) == {"kept": "\0 \ud800 \U0001f600"}


async def test_a_wait_goes_on_by_an_answer_or_its_time_out(database: Database) -> None:
    async with running(database) as flows:
        workflow = flows.workflow(WAIT, variable("said", "{{last_user_input}} {{system.last_resume.reason}}"))
        run = await flows.run(workflow, RunStatus.WAITING)
        assert run.waiting_reason == "wait_for_response"
        answered = await flows.executions.resume(run.id, {"data": {"text": "\ud800"}}, {"extra": 1})
        assert answered.id == run.id
        run = await flows.until(run.id, RunStatus.ENDED)
        assert await flows.vars(run) == {
            "extra": 1,
            "last_user_input": {"text": "\ud800"},
            "answer": {"text": "\ud800"},
            "said": '{"text":"\ud800"} user_input',
        }
        with pytest.raises(InvalidInput, match="not waiting"):
            await flows.executions.resume(run.id, {"data": 1})

        timed = flows.workflow(("ask", "wait_for_response", {"timeout_seconds": 10}), variable("on", True))
        run = await flows.run(timed, RunStatus.WAITING)
        await database.write(_all_due)
        flows.engine.joined([])
        run = await flows.until(run.id, RunStatus.ENDED)
        assert await flows.vars(run) == {"on": True}
        assert (await flows.executions.state(run.id)).spaces.system["last_resume"] == {"reason": "timeout"}
        assert len(await flows.events(run, "wait_timeout")) == 1

        run = await flows.run(timed, RunStatus.WAITING)
        await flows.executions.resume(run.id, {"data": "in time"})
        await flows.until(run.id, RunStatus.ENDED)
        assert await database.read(_jobs) == 0, "an answer in time ends the wait's own job"


def _all_due(connection: Connection) -> None:
    connection.execute(job_table.update().values(due_at_ms=1))


async def test_only_one_answer_is_taken_at_a_time(database: Database) -> None:
    async with running(database) as flows:
        run = await flows.run(flows.workflow(WAIT, function("after")), RunStatus.WAITING)
        answers = [flows.executions.resume(run.id, {"data": n}) for n in range(5)]
        results = await asyncio.gather(*answers, return_exceptions=True)

        assert sum(not isinstance(result, BaseException) for result in results) == 1
        assert all(isinstance(one, Conflict | InvalidInput) for one in results if isinstance(one, BaseException))
        await flows.until(run.id, RunStatus.ENDED)
        assert flows.scripted.keys == [f"{run.id}:after:1"]


async def test_a_call_runs_another_workflow_and_its_answer_goes_to_the_deepest(database: Database) -> None:
    async with running(database) as flows:
        inner = flows.workflow(WAIT, variable("deep", "{{vars.outer}}!"), name="inner", slug="inner")
        middle = flows.workflow(("call", "call", {"workflow_id": inner.id}), name="middle", slug="middle")
        outer = flows.workflow(("call", "call", {"workflow_slug": "middle"}), variable("end", 1), name="outer")
        run = await flows.run(outer, RunStatus.WAITING, variables={"outer": "o"})
        async with asyncio.timeout(60):
            while (waits := await flows.executions.resumable(run.id)) is None or waits.workflow_id != inner.id:
                await asyncio.sleep(0.01)

        received = await flows.executions.resume(run.id, {"data": "hi"})
        assert (received.id, received.workflow_name, received.depth) == (waits.id, "inner", 2)
        run = await flows.until(run.id, RunStatus.ENDED)
        assert await flows.vars(run) == {
            "outer": "o",
            "last_user_input": "hi",
            "answer": "hi",
            "deep": "o!",
            "end": 1,
        }
        assert middle.id != outer.id


async def test_a_call_that_fails_is_kept_or_fails_the_step(database: Database) -> None:
    async with running(database) as flows:

        async def fails(_: StepContext) -> StepResult:
            return Failed(error="inner trouble")

        flows.scripted.scripts["fails"] = fails
        inner = flows.workflow(function("fails"), name="inner", slug="inner")
        calls = ("call", "call", {"workflow_id": inner.id, "save_error_to": "trouble"})
        run = await flows.run(flows.workflow(calls, variable("end", 1), name="outer"))
        assert run.status is RunStatus.ENDED
        assert (await flows.vars(run))["trouble"] == {
            "error": "inner trouble",
            "workflow_id": inner.id,
            "workflow_name": "inner",
            "call_stack": ["outer"],
        }

        cyclic = flows.workflow(("call", "call", {"workflow_slug": "cyclic"}), slug="cyclic")
        run = await flows.run(cyclic)
        assert run.error is not None
        assert run.error["message"] == "Workflow call cycle detected"


async def test_the_end_of_a_run_ends_what_it_does_and_what_it_called(database: Database) -> None:
    async with running(database) as flows:
        began, ended = asyncio.Event(), asyncio.Event()

        async def hangs(_: StepContext) -> StepResult:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return Next()

        flows.scripted.scripts["hangs"] = hangs
        inner = flows.workflow(function("hangs"), function("after"), slug="inner")
        run = await flows.run(flows.workflow(("call", "call", {"workflow_id": inner.id})), RunStatus.WAITING)
        async with asyncio.timeout(60):
            await began.wait()
            called = (await flows.executions.get(run.id)).child_id
            assert called is not None
            cancelled = await flows.executions.cancel(run.id)
            await ended.wait()

        assert cancelled.status is RunStatus.ENDED
        assert (await flows.executions.get(called)).status is RunStatus.ENDED
        assert (await flows.events(cancelled))[-1].payload == {"reason": "cancelled"}
        last = (await flows.steps(cancelled))[-1]
        assert (last.status, last.error) == (StepStatus.FAILED, "cancelled")
        for status in RunStatus:
            with pytest.raises(InvalidInput, match=f"Invalid transition from ended to {status}"):
                await flows.executions.change_status(run.id, status)


async def test_a_paused_run_begins_no_step_until_it_goes_on(database: Database) -> None:
    async with running(database) as flows:
        let, began = asyncio.Event(), asyncio.Event()

        async def held(_: StepContext) -> StepResult:
            began.set()
            await let.wait()
            return Next()

        flows.scripted.scripts["one"] = held
        run = await flows.executions.start(flows.workflow(function("one"), WAIT, function("two")))
        async with asyncio.timeout(60):
            await began.wait()
            await flows.executions.pause(run.id)
            let.set()
            while (now := await flows.executions.get(run.id)).pause != "parked":
                await asyncio.sleep(0.01)
        assert (now.status, now.node_id) == (RunStatus.RUNNING, "ask")
        await flows.executions.go_on(run.id)
        await flows.until(run.id, RunStatus.WAITING)

        await flows.executions.pause(run.id)
        await flows.executions.resume(run.id, {"data": "kept"})
        async with asyncio.timeout(60):
            while (await flows.executions.get(run.id)).pause != "parked":
                await asyncio.sleep(0.01)
        await flows.executions.go_on(run.id)
        run = await flows.until(run.id, RunStatus.ENDED)
        assert (await flows.vars(run))["answer"] == "kept"
        assert flows.scripted.keys == [f"{run.id}:one:1", f"{run.id}:two:1"]
        with pytest.raises(InvalidInput, match="neither paused nor handed over"):
            await flows.executions.go_on(run.id)


async def test_a_handed_over_run_goes_on_when_an_operator_says_so(database: Database) -> None:
    async with running(database) as flows:
        run = await flows.run(
            flows.workflow(("human", "handoff", {"reason": "{{vars.why}}"}), function("after")),
            RunStatus.HANDOFF,
            variables={"why": "angry"},
        )
        assert (await flows.events(run, "handoff_requested"))[0].payload["reason"] == "angry"
        await flows.executions.go_on(run.id)
        run = await flows.until(run.id, RunStatus.ENDED)
        assert flows.scripted.keys == [f"{run.id}:after:1"]


async def test_a_paused_run_that_is_handed_over_goes_on_at_once(database: Database) -> None:
    async with running(database) as flows:
        run = await flows.run(flows.workflow(WAIT, function("after")), RunStatus.WAITING)
        await flows.executions.pause(run.id)
        assert (await flows.executions.change_status(run.id, RunStatus.HANDOFF)).pause is None
        await flows.executions.go_on(run.id)
        run = await flows.until(run.id, RunStatus.ENDED)
        assert flows.scripted.keys == [f"{run.id}:after:1"]


async def test_a_run_begins_again_at_a_step_with_the_variables_of_then(database: Database) -> None:
    async with running(database) as flows:
        luck = [False]

        async def lucky(step: StepContext) -> StepResult:
            if not luck[0]:
                return Failed(error="not yet")
            return Next(variables={**step.spaces.vars, "found": dict(step.spaces.vars)})

        flows.scripted.scripts["lucky"] = lucky
        nodes = (variable("a", 1), function("before"), variable("b", 2), function("lucky"))
        workflow = flows.workflow(*nodes)
        run = await flows.run(workflow)
        assert run.status is RunStatus.FAILED
        luck[0] = True
        await flows.executions.retry(run.id)
        run = await flows.until(run.id, RunStatus.ENDED)
        assert (await flows.vars(run))["found"] == {"a": 1, "b": 2}
        assert flows.scripted.keys == [f"{run.id}:before:1", f"{run.id}:lucky:1", f"{run.id}:lucky:2"]

        await flows.executions.retry(run.id, "set_b")
        run = await flows.until(run.id, RunStatus.ENDED)
        assert (await flows.vars(run))["found"] == {"a": 1, "b": 2}
        assert flows.scripted.keys[3:] == [f"{run.id}:lucky:3"]

        flows.workflow(*nodes[:2], variable("b", "new"), function("lucky"), id=workflow.id)
        await flows.executions.retry(run.id, "set_b", "latest")
        run = await flows.until(run.id, RunStatus.ENDED)
        assert (await flows.vars(run))["found"] == {"a": 1, "b": "new"}

        for node in ("lucky2", "human"):
            with pytest.raises(InvalidInput, match=f"made no step at a node '{node}'"):
                await flows.executions.retry(run.id, node)


async def test_open_runs_of_a_project_have_bounds(database: Database) -> None:
    async with running(database, runs=2) as flows:
        workflow = flows.workflow(WAIT, slug="inner")
        await flows.run(workflow, RunStatus.WAITING)
        calls = await flows.run(flows.workflow(("call", "call", {"workflow_slug": "inner"}), slug="outer"))
        assert calls.error is not None
        assert "2 runs of workflows" in calls.error["message"]
        await flows.run(workflow, RunStatus.WAITING)
        with pytest.raises(LimitReached, match="2 runs of workflows"):
            await flows.executions.start(workflow)
    async with running(database, runs_mb=1) as flows:
        workflow = flows.workflow(WAIT)
        await flows.run(workflow, RunStatus.WAITING, variables={"x": "x" * 1_040_000})
        with pytest.raises(LimitReached, match="hold 1 MiB"):
            await _fill(flows, workflow)


async def test_runs_that_hold_far_too_much_fail_at_their_next_step(database: Database) -> None:
    async with running(database, runs_mb=1) as flows:

        async def grow(step: StepContext) -> StepResult:
            return Next(variables={**step.spaces.vars, "x": "x" * 1_040_000})

        flows.scripted.scripts["grow"] = grow
        workflow = flows.workflow(WAIT, function("grow"), ("again", *WAIT[1:]), variable("end", 1))
        flows.policies[workflow.id] = {"again": {"on_error": "continue"}}
        runs = [await flows.run(workflow, RunStatus.WAITING) for _ in range(3)]
        for run in runs:
            await flows.executions.resume(run.id, {"data": 1})
        for run in runs:
            async with asyncio.timeout(60):
                while (await flows.executions.get(run.id)).node_id != "again":
                    await asyncio.sleep(0.01)
            await flows.until(run.id, RunStatus.WAITING)
        await flows.retention.watch()
        await flows.executions.resume(runs[0].id, {"data": 1})
        failed = await flows.until(runs[0].id, RunStatus.FAILED, RunStatus.ENDED)
        assert failed.error is not None
        assert failed.error["code"] == "runs_full"

        await flows.executions.cancel(runs[1].id)
        await flows.retention.watch()
        await flows.executions.resume(runs[2].id, {"data": 1})
        await flows.until(runs[2].id, RunStatus.ENDED)


async def _fill(flows: Flows, workflow: Any) -> None:
    for _ in range(3):
        await flows.run(workflow, RunStatus.WAITING, variables={"x": "x" * 1_040_000})


async def test_a_run_keeps_its_place_for_some_steps_and_then_lets_others_go_on(database: Database) -> None:
    async with running(database, at_once=1) as flows:
        workflow = flows.workflow(*(function(f"f{number}") for number in range(12)))
        both = asyncio.Event()

        async def wait(_: StepContext) -> StepResult:
            await both.wait()
            return Next()

        flows.scripted.scripts["f0"] = wait
        runs = [await flows.executions.start(workflow) for _ in range(2)]
        both.set()
        for run in runs:
            await flows.until(run.id, RunStatus.ENDED)

    order = [runs[0].id == key.split(":")[0] for key in flows.scripted.keys]
    # The start was a run's first step. The tenth waits behind what waited before it.
    assert order == [True] * 8 + [False] * 8 + [True] * 4 + [False] * 4


async def test_no_run_begins_with_one_graph_too_many(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isolet.database.executions.GRAPHS_MAX", 1)
    async with running(database) as flows:
        workflow = flows.workflow(variable("x", 1))
        for _ in range(2):
            await flows.run(workflow)
        with pytest.raises(LimitReached, match="1 different graphs"):
            await flows.executions.start(flows.workflow(variable("x", 2)))


async def test_old_runs_go_and_those_of_a_project_stay_within_its_bytes(database: Database) -> None:
    async with running(database) as flows:
        workflow = flows.workflow(variable("x", 1))
        keep = RunRetention(
            database=database, clock=SystemClock(), retention_ms=-1_000, limits_of=lambda _: ProjectLimits()
        )
        run = await flows.run(workflow)
        waiting = await flows.run(flows.workflow(WAIT), RunStatus.WAITING)
        await keep.keep()
        with pytest.raises(NotFound):
            await flows.executions.get(run.id)
        assert await flows.steps(run) == []
        assert (await flows.executions.get(waiting.id)).status is RunStatus.WAITING

        small = RunRetention(
            database=database, clock=SystemClock(), retention_ms=10**10, limits_of=lambda _: ProjectLimits(runs_mb=2)
        )
        large = [await flows.run(workflow, variables={"y": "y" * 900_000}) for _ in range(3)]
        await small.keep()
        left = await flows.executions.list(Filter(project_id=PROJECT), limit=10)
        assert [one.id for one in left] == [large[2].id, large[1].id, waiting.id]

        crowded = RunRetention(
            database=database,
            clock=SystemClock(),
            retention_ms=10**10,
            limits_of=lambda _: ProjectLimits(),
            graphs_kept=2,
        )
        await database.write(_graphs_are_old)
        other = await flows.run(flows.workflow(variable("x", 2)))
        await crowded.keep()
        left = await flows.executions.list(Filter(project_id=PROJECT), limit=10)
        assert [one.id for one in left] == [other.id, waiting.id], "those of the oldest graph that no open run has"
        assert await database.read(_graphs) == 2

        await database.write(_graphs_are_old)
        await small.keep()
        assert await database.read(_graphs) == 2, "those of the runs that are left"
        await small.delete_project(PROJECT)
        assert await flows.executions.list(Filter(project_id=PROJECT), limit=10) == []
        assert await database.read(_graphs) == 0


def _graphs(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(graph_table)).scalar_one())


def _graphs_are_old(connection: Connection) -> None:
    connection.execute(graph_table.update().values(used_at_ms=1))
