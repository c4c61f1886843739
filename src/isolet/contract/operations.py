"""Describes an operation once: its method and path, and by the signature of a function its parameters and its reply.

Parameters whose names are in the path go there; `body` is a model that is sent as JSON; `content` is sent as it is; the
names in `headers` are sent as these headers; all others go into the query. The reply is a model, None, text, or a class
with `from_reply`. A `Stream` gives its items as they come: bytes, or a class with `from_event`.

An operation that is read from its class is itself. Read from a resource of a client it is a method, which returns the
reply for `Sync` and an awaitable of it for `Async`; so both clients have one description.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload

# Before each capital letter but the first.
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
P = ParamSpec("P")
R = TypeVar("R")
Self_ = TypeVar("Self_")


class Sync:
    """Marks the resources of a client that waits."""


class Async:
    """Marks the resources of a client for asyncio."""


Mode = TypeVar("Mode", Sync, Async)


class Options(TypedDict, total=False):
    """`headers` and `queries` are the names on the wire by those of parameters, where they are others."""

    status: int
    headers: Mapping[str, str]
    queries: Mapping[str, str]
    media_type: str


class Caller(Protocol):
    """What sends operations: the reply of `call` or `follow`, in the form that the mode of its resources says."""

    def call(self, operation: AnyOperation, arguments: Mapping[str, Any]) -> Any: ...

    def follow(self, stream: AnyOperation, arguments: Mapping[str, Any]) -> Any: ...


class Resource(Generic[Mode]):
    """The operations on one kind of thing, bound to a client. `tag` is its heading in the description."""

    tag: ClassVar[str]

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @classmethod
    def operations(cls) -> dict[str, AnyOperation]:
        """By the name of the method."""
        return {name: found for name, found in vars(cls).items() if isinstance(found, AnyOperation)}


class AnyOperation:
    """What an operation says. `status` is that of a good reply, `media_type` that of one which is no model.

    `id` is the name of the resource and that of the method: `functions_put_named`.
    """

    tag: str
    id: str

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        method: str,
        path: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        queries: Mapping[str, str] | None = None,
        media_type: str = "application/json",
    ) -> None:
        self.method = method
        self.path = path
        self.status = status
        self.headers = headers or {}
        self.queries = queries or {}
        self.media_type = media_type
        self.__doc__ = function.__doc__
        self._function = function

    def __set_name__(self, owner: type[Resource[Any]], name: str) -> None:
        self.tag = owner.tag
        self.id = f"{_CAPITAL.sub('_', owner.__name__).lower()}_{name}"

    @property
    def reply(self) -> Any:
        """The type of the reply, or of a stream's items."""
        return typing.get_type_hints(self._function)["return"]

    @property
    def body(self) -> Any:
        """The model of the JSON that is sent, which may be optional; None where there is none."""
        hint = typing.get_type_hints(self._function).get("body")
        models = [one for one in typing.get_args(hint) if one is not type(None)]
        return models[0] if models else hint

    @property
    def parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self._function).parameters.values())[1:]

    def bind(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The arguments of a call by name. Raises TypeError as the call of a function does."""
        arguments = inspect.signature(self._function).bind(None, *args, **kwargs).arguments
        arguments.pop("self")
        return dict(arguments)


class Operation(AnyOperation, Generic[P, R]):
    @overload
    def __get__(self, resource: None, owner: type) -> Operation[P, R]: ...
    @overload
    def __get__(self, resource: Resource[Sync], owner: type) -> Callable[P, R]: ...
    @overload
    def __get__(self, resource: Resource[Async], owner: type) -> Callable[P, Awaitable[R]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Any:
        if resource is None:
            return self
        caller = resource._caller
        return lambda *args, **kwargs: caller.call(self, self.bind(*args, **kwargs))


class Stream(AnyOperation, Generic[P, R]):
    """Used as a context manager: leaving it closes the connection."""

    @overload
    def __get__(self, resource: None, owner: type) -> Stream[P, R]: ...
    @overload
    def __get__(self, resource: Resource[Sync], owner: type) -> Callable[P, AbstractContextManager[Iterator[R]]]: ...
    @overload
    def __get__(
        self, resource: Resource[Async], owner: type
    ) -> Callable[P, AbstractAsyncContextManager[AsyncIterator[R]]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Any:
        if resource is None:
            return self
        caller = resource._caller
        return lambda *args, **kwargs: caller.follow(self, self.bind(*args, **kwargs))


def operation(
    method: str, path: str, **options: Unpack[Options]
) -> Callable[[Callable[Concatenate[Self_, P], R]], Operation[P, R]]:
    """Make a function without a body the operation that its signature describes. `path` is below `/isolet/v1`."""
    return lambda function: Operation(function, method=method, path=path, **options)


def stream(
    method: str, path: str, **options: Unpack[Options]
) -> Callable[[Callable[Concatenate[Self_, P], R]], Stream[P, R]]:
    """As `operation`, of which the return type is that of the items."""
    return lambda function: Stream(function, method=method, path=path, **options)
