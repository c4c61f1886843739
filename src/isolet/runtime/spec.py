"""What one instance runs: the code, the settings and the limits of a release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from isolet.domain.compatibility import Compatibility
from isolet.domain.limits import Limits
from isolet.domain.redaction import Redactor, strings
from isolet.domain.versions import Module
from isolet.ids import FunctionId, ProjectId

_PRIVATE_MIN_CHARS = 8


class InstanceSpec(Struct, frozen=True, kw_only=True):
    """What one instance runs. `release` names it: the same release means the same code and the same variables.

    Text values of `variables` arrive in `env` as strings, all others parsed from JSON. `environment` holds environment
    variables of any name, `platform` those that stand above them; `app` describes the project.
    `code` is the author's text, None where the module is just that.
    `modules` stand beside the module, which imports them by name.
    `bindings` are those to stores under further names; none of them is in `variables`.
    `redactor` knows `private`, when it was made beforehand.
    """

    release: str
    function_id: FunctionId
    project_id: ProjectId
    version: int
    module: str
    limits: Limits
    code: str | None = None
    modules: Mapping[str, Module] = field(default_factory=dict)
    compatibility: Compatibility = field(default_factory=Compatibility)
    variables: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    platform: Mapping[str, str] = field(default_factory=dict)
    app: Mapping[str, Any] | None = None
    bindings: Mapping[str, Any] = field(default_factory=dict)
    redactor: Redactor | None = None

    @property
    def private(self) -> list[Any]:
        """What must not be told: secrets, and variables long enough not to be everyday words."""
        texts = (text for value in self.environment.values() for text in strings(value))
        long = [text for text in texts if len(text) >= _PRIVATE_MIN_CHARS]
        return [*self.variables.values(), *long]
