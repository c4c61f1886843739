"""What every description of an operation must hold, for a client to send it."""

from __future__ import annotations

import inspect
import re

import pytest
from pydantic import BaseModel

from isolet.contract.operations import AnyOperation, Stream
from tests.support.contract import operations

OPERATIONS = operations()


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_an_operation_says_all_that_a_client_needs(operation: AnyOperation) -> None:
    names = {parameter.name: parameter for parameter in operation.parameters}
    in_path = re.findall(r"{(\w+)}", operation.path)
    assert [name for name in names if names[name].default is inspect.Parameter.empty and name in in_path] == in_path
    assert {*operation.headers, *operation.queries} <= set(names)
    assert not {"body", "content"} <= set(names)
    if operation.method in ("GET", "DELETE"):
        assert not {"body", "content"} & set(names)
    reply = operation.reply
    if isinstance(operation, Stream):
        assert reply is bytes or hasattr(reply, "from_event")
    else:
        assert (operation.status == 204) == (reply is type(None))
        assert reply in (type(None), str) or issubclass(reply, BaseModel) or hasattr(reply, "from_reply")


def test_every_operation_is_there_once() -> None:
    rows = [(operation.method, operation.path) for operation in OPERATIONS.values()]
    assert len(set(rows)) == len(rows)
