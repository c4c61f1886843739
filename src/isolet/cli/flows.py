"""`isolet flows`: workflows and their runs."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Literal

import typer

from isolet.cli import shown
from isolet.cli.commands import All, Commands, Limit
from isolet.cli.failures import ExitCode, Usage
from isolet.cli.output import Cell, note, paged
from isolet.cli.progress import waiting
from isolet.cli.session import Session

_HELP = """Workflows and their runs.

\b
isolet flows run orders -d '{"customer": "Ada"}' --wait
isolet flows runs orders --status failed
isolet flows retry RUN
"""

app = Commands(_HELP)

Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)]
_POLL_S = 0.5
_UNDER_WAY = "running"

_FLOWS: dict[str, Cell] = {
    "NAME": "name",
    "SLUG": "slug",
    "STATUS": "status",
    "RUNS": "execution_count",
    "LAST": "last_executed_at",
    "ID": "id",
}
_RUNS: dict[str, Cell] = {
    "RUN": "id",
    "FLOW": "workflow_name",
    "STATUS": "status",
    "NODE": "node_id",
    "STARTED": "started_at",
    "ENDED": "ended_at",
    "ERROR": lambda one: one.error and one.error.get("message"),
}
_STEPS: dict[str, Cell] = {
    "NODE": "node_id",
    "STATUS": "status",
    "TRIES": "attempts",
    "EDGE": "edge_label",
    "STARTED": "started_at",
    "CALL": "invocation_id",
    "ERROR": "error",
}


@app.of_server("list")
def list_flows(session: Session) -> None:
    """List workflows."""
    session.output.items(session.client.flows.list(session.project).data, _FLOWS)


@app.of_server("runs")
def list_runs(
    session: Session,
    flow: Annotated[str | None, typer.Argument(help="A workflow's slug or id, else all.", show_default=False)] = None,
    status: Annotated[str | None, typer.Option(help="running, waiting, failed, ended or handoff.")] = None,
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List runs, newest first."""
    runs, project = session.client.executions, session.project
    found = paged(
        lambda size, cursor: runs.list(project=project, workflow=flow, status=status, limit=size, cursor=cursor),
        None if all_ else limit,
    )
    session.output.items(found, _RUNS)


@app.of_server("run")
def run(
    session: Session,
    flow: Annotated[str, typer.Argument(help="The workflow's slug or id.", show_default=False)],
    data: Annotated[
        str | None, typer.Option("--data", "-d", metavar="JSON", help="An object: the variables that it begins with.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended, or waits itself.")] = False,
) -> None:
    """Start a run of a workflow, and print its id.

    \b
    isolet flows run orders -d '{"customer": "Ada"}' --wait
    """
    from isolet.contract.executions import ExecutionStart

    started = session.client.executions.start(session.project, flow, ExecutionStart(variables=_variables(data)))
    if wait:
        _wait(session, started.id)
    else:
        session.output.done(started.to_json(), started.id)


@app.of_server("get")
def get(session: Session, run_id: Run) -> None:
    """Show a run with its steps."""
    _show(session, run_id)


@app.of_server("retry")
def retry(
    session: Session,
    run_id: Run,
    from_: Annotated[str | None, typer.Option("--from", metavar="NODE", help="Begin there, else at the last.")] = None,
    graph: Annotated[Literal["snapshot", "latest"], typer.Option(help="The graph to go on with.")] = "snapshot",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended, or waits itself.")] = False,
) -> None:
    """Let a run that has ended go on from one of its steps."""
    from isolet.contract.executions import ExecutionRetry

    # What is None is not sent.
    body: dict[str, Any] = {"graph": graph} if from_ is None else {"graph": graph, "from": from_}
    retried = session.client.executions.retry(run_id, ExecutionRetry.model_validate(body))
    if wait:
        _wait(session, retried.id)
    else:
        session.output.done(retried.to_json(), retried.id)


@app.of_server("pause")
def pause(session: Session, run_id: Run) -> None:
    """Let no other step of a run begin."""
    session.output.item(session.client.executions.pause(run_id))


@app.of_server("resume")
def resume(session: Session, run_id: Run) -> None:
    """End a pause, or let a run go on that was handed over."""
    session.output.item(session.client.executions.resume(run_id))


@app.of_server("cancel")
def cancel(session: Session, run_id: Run) -> None:
    """End a run."""
    session.output.item(session.client.executions.cancel(run_id))


@app.of_server("graph")
def graph_of(
    session: Session, flow_id: Annotated[str, typer.Argument(metavar="ID", help="The workflow's id.")]
) -> None:
    """Print the graph of a workflow as a flow chart of Mermaid."""
    text = session.client.flows.mermaid(flow_id)
    session.output.done({"mermaid": text}, text)


def _variables(data: str | None) -> dict[str, Any] | None:
    try:
        parsed = None if data is None else json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise Usage(f"--data is no JSON: {exc}") from None
    if not isinstance(parsed, dict | None):
        raise Usage("--data is an object")
    return parsed


def _wait(session: Session, run_id: str) -> None:
    with waiting("Waiting for the run"):
        while session.client.executions.get(run_id).status == _UNDER_WAY:
            time.sleep(_POLL_S)
    status = _show(session, run_id)
    if status == "failed":
        note(f"The run failed. isolet flows retry {run_id} lets it go on from its last step.")
        raise typer.Exit(ExitCode.FAILED)


def _show(session: Session, run_id: str) -> str:
    found = session.client.executions.get(run_id)
    if session.output.as_json:
        session.output.value(found.to_json())
        return found.status
    hidden = ("execution_context", "steps")
    session.output.item(found, rows={name: value for name, value in found.to_json().items() if name not in hidden})
    session.output.line("vars\t" + shown.as_json(found.execution_context.get("vars")))
    session.output.items(found.steps, _STEPS)
    return found.status
