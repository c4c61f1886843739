"""Variables of functions."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel

from isolet.contract.operations import Mode, Resource, operation


class VariableChanges(RootModel[dict[str, Any]]):
    """Any JSON by name; null removes."""


class VariablesReply(RootModel[dict[str, Any]]):
    """All variables by name."""


class Variables(Resource[Mode]):
    tag = "functions"

    @operation("GET", "/functions/{function_id}/variables")
    def get(self, function_id: str) -> VariablesReply:
        """The variables of a function."""

    @operation("PATCH", "/functions/{function_id}/variables")
    def change(self, function_id: str, body: VariableChanges) -> VariablesReply:
        """Live with the next call."""
