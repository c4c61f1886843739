import asyncio

from isolet.domain.invocations import Door, Invocation, Outcome
from isolet.ids import FunctionId, InvocationId, ProjectId
from isolet.invoke.failures import record_error


def test_the_record_of_a_call_that_was_cancelled_says_so() -> None:
    call = Invocation(
        id=InvocationId("c"),
        project_id=ProjectId("p"),
        function_id=FunctionId("f"),
        function_name="f",
        version=1,
        door=Door.KAPSO,
        method="POST",
        path="/",
        started_at_ms=0,
    )
    record_error(call, asyncio.CancelledError("Task cancelled, timeout graceful shutdown exceeded"))
    assert (call.outcome, call.status) == (Outcome.DISCONNECTED, 499)
    assert call.error == "The call was cancelled, or the server stopped before it had ended"
