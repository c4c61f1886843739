"""What the use cases tell the other services, so that memory follows the database."""

from __future__ import annotations

from typing import Protocol

from isolet.domain.functions import Function
from isolet.ids import FunctionId


class FunctionEvents(Protocol):
    """Called after the change is on disk."""

    def put_function(self, function: Function) -> None: ...

    def drop_function(self, function_id: FunctionId) -> None: ...
