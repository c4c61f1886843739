"""What is in the texts of jobs that are HTTP requests: asynchronous calls, and the deliveries of their callbacks.

The id of an asynchronous call's job is the id of its invocation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import force_setattr

from isolet.domain.invocations import Door, Kind, storable
from isolet.domain.jobs import Job, JobKind

CALL = JobKind("call")
CALLBACK = JobKind("callback")
# The one door whose calls may wait in the queue.
ASYNC_DOOR = Door.ALTAIR

Headers = Sequence[tuple[str, str]]


class CallPayload(Struct, frozen=True, kw_only=True):
    """The call as the function gets it, beside its path and its body; `door` and `kind` go into its record."""

    door: Door
    kind: Kind
    method: str
    headers: Headers = ()
    callback_url: str | None = None

    def dump(self) -> str:
        return json.dumps(
            {
                "door": self.door.value,
                "kind": self.kind.value,
                "method": self.method,
                "headers": self.headers,
                "callback_url": self.callback_url,
            }
        )

    @classmethod
    def of(cls, job: Job) -> CallPayload:
        found = json.loads(job.payload)
        return cls(
            door=Door(found["door"]),
            kind=Kind(found["kind"]),
            method=found["method"],
            headers=_headers(found["headers"]),
            callback_url=found["callback_url"],
        )


class DeliveryPayload(Struct, frozen=True, kw_only=True):
    """Headers of the request, without those of the connection and the signature. The job's target is the URL."""

    headers: Headers = ()

    def dump(self) -> str:
        return json.dumps({"headers": self.headers})

    @classmethod
    def of(cls, job: Job) -> DeliveryPayload:
        return cls(headers=_headers(json.loads(job.payload)["headers"]))


class ReplyHead(Struct, frozen=True, kw_only=True):
    """What came back, without its body. Texts are made storable. `status` is 0 when nothing came back."""

    status: int
    headers: Headers = ()

    def __post_init__(self) -> None:
        force_setattr(self, "headers", tuple((storable(name), storable(value)) for name, value in self.headers))

    def dump(self) -> str:
        return json.dumps({"status": self.status, "headers": self.headers})

    @classmethod
    def of(cls, job: Job) -> ReplyHead | None:
        """None before a try has ended with a result."""
        if not job.result:
            return None
        found = json.loads(job.result)
        return cls(status=found["status"], headers=_headers(found["headers"]))


def _headers(pairs: Sequence[Sequence[str]]) -> Headers:
    return tuple((name, value) for name, value in pairs)
