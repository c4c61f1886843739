"""A typed client of the native API: `Client` waits for replies, `AsyncClient` is for asyncio.

    with Client("http://127.0.0.1:7878", key) as client:
        for function in client.functions.list(project="shop").data:
            ...

Both have the same resources (`resources.py`), which are those of the contract. Everything raises `ApiError` or one of
its kinds (`errors.py`).
"""

from isolet.client.asynchronous import AsyncClient
from isolet.client.errors import (
    ApiError,
    BuildFailed,
    Conflict,
    DeployFailed,
    Forbidden,
    InvalidInput,
    LimitReached,
    NotDeployed,
    NotFound,
    Refused,
    ServerFailed,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    UnexpectedReply,
    Unreachable,
)
from isolet.client.synchronous import Client

__all__ = [
    "ApiError",
    "AsyncClient",
    "BuildFailed",
    "Client",
    "Conflict",
    "DeployFailed",
    "Forbidden",
    "InvalidInput",
    "LimitReached",
    "NotDeployed",
    "NotFound",
    "Refused",
    "ServerFailed",
    "TooLarge",
    "TooManyRequests",
    "Unauthenticated",
    "UnexpectedReply",
    "Unreachable",
]
