"""What models of requests and replies have in common, and the shapes of lists and errors."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Item = TypeVar("Item")
# Keeps a whole number whole.
Number = int | float
# No body has so many.
MEMBERS_MAX = 100
# A list whose first item of another type is told, and no further one.
Texts = Annotated[list[str], Field(fail_fast=True)]


class Model(BaseModel):
    def to_json(self) -> dict[str, Any]:
        """What was set. JSON of a tenant's choice in it is passed on as it is, however deep."""
        fields, given = type(self).model_fields, self.model_fields_set
        return {fields[name].alias or name: _plain(value) for name, value in vars(self).items() if name in given}


class Body(Model):
    """What a caller sends. Unknown members are refused, and that is told of a few only: each costs time."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _check_count(cls, sent: Any) -> Any:
        if isinstance(sent, dict) and len(sent) > MEMBERS_MAX:
            raise PydanticCustomError("too_many_members", "more than {most} members", {"most": MEMBERS_MAX})
        return sent


def _open(schema: dict[str, Any]) -> None:
    schema.pop("additionalProperties", None)


class Reply(Model):
    """What the server answers. A member that the contract does not have is a fault of the server; a client reads with
    `read`, which passes over what a newer server added, and the description says neither.

    A member with a default may be absent; the server writes those that it set.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra=_open)


M = TypeVar("M", bound=BaseModel)


def read(model: type[M], parsed: Any) -> M:
    """A reply from JSON. Raises pydantic's ValidationError."""
    return model.model_validate(parsed, extra="ignore")


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return value.to_json()
    if isinstance(value, list) and value and isinstance(value[0], Model):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and any(isinstance(item, Model) for item in value.values()):
        return {name: _plain(item) for name, item in value.items()}
    return value


class Page(Reply, Generic[Item]):
    """`next_cursor` is the `cursor` of the next page; null at the end."""

    data: list[Item]
    next_cursor: str | None


class Error(Reply):
    """`code` is stable, `message` is for people."""

    code: str
    message: str
    details: dict[str, Any] | None = None


class ErrorReply(Reply):
    error: Error
