"""The frames of the protocol: what a client says, read and checked, and what it is told, as JSON in ASCII.

The words are Butterbase's; `channel`, `since`, `auth` and `id` are ours beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from msgspec import Struct

from isolet.clock import iso
from isolet.domain.json_bounds import bounded_json, check_depth
from isolet.domain.realtime import NAME_MAX_CHARS, Message, check_word
from isolet.domain.strict_json import TOO_MANY, TooManyValues, read_bounded
from isolet.errors import InvalidInput

METADATA_MAX_BYTES = 4_096
_SHOWN_CHARS = 100
_ID_MAX_CHARS = 200
_NOT_WATCHED = "TABLE_NOT_REALTIME_ENABLED"


class Refused(Exception):
    """A frame that is answered by an error. `id` is the frame's, where it has one."""

    def __init__(self, message: str, id_: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.id = id_


class EventSent(Struct, frozen=True, kw_only=True):
    """`payload` is JSON in ASCII; None when the frame has none."""

    event: str
    payload: str | None
    id: Any = None


class TableSubscribed(Struct, frozen=True, kw_only=True):
    table: str
    filter: Mapping[str, Any] | None
    id: Any = None


class TableUnsubscribed(Struct, frozen=True, kw_only=True):
    table: str
    id: Any = None


class ChannelSubscribed(Struct, frozen=True, kw_only=True):
    """`since` is the number of the last message that the client has; None for those to come only."""

    channel: str
    since: int | None
    id: Any = None


class ChannelUnsubscribed(Struct, frozen=True, kw_only=True):
    channel: str
    id: Any = None


class PresenceTracked(Struct, frozen=True, kw_only=True):
    metadata: Any
    id: Any = None


class PresenceUpdated(Struct, frozen=True, kw_only=True):
    metadata: Any
    id: Any = None


class TokenGiven(Struct, frozen=True, kw_only=True):
    token: str
    id: Any = None


Frame: TypeAlias = (
    EventSent
    | TableSubscribed
    | TableUnsubscribed
    | ChannelSubscribed
    | ChannelUnsubscribed
    | PresenceTracked
    | PresenceUpdated
    | TokenGiven
)


# What a client says.


def read(text: str) -> Frame:
    """Raises Refused with the text of the error."""
    try:
        frame = read_bounded(text)
    except TooManyValues:
        raise Refused(f"The frame {TOO_MANY}") from None
    except (ValueError, RecursionError):
        raise Refused("Invalid JSON") from None
    if not isinstance(frame, dict):
        raise Refused("Unknown message type: undefined")
    id_ = _id(frame.get("id"))
    kind = frame.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise Refused(f"Unknown message type: {_shown(kind) if 'type' in frame else 'undefined'}", id_)
    try:
        return reader(frame, id_)
    except InvalidInput as exc:
        raise Refused(exc.message, id_) from None


def _event(frame: dict[str, Any], id_: Any) -> Frame:
    name = frame.get("event")
    if not isinstance(name, str) or not name:
        raise Refused('Missing "event" field', id_)
    payload = _json(frame["payload"]) if "payload" in frame else None
    return EventSent(event=name, payload=payload, id=id_)


def _subscribe(frame: dict[str, Any], id_: Any) -> Frame:
    if "channel" in frame:
        since = frame.get("since")
        if since is not None and (isinstance(since, bool) or not isinstance(since, int) or not 0 <= since < 2**53):
            raise Refused("since: must be the seq of a message, or 0", id_)
        return ChannelSubscribed(channel=check_word("channel", frame["channel"]), since=since, id=id_)
    chosen = frame.get("filter")
    kept = chosen if isinstance(chosen, dict) and chosen else None
    # It is told back.
    check_depth("filter", kept)
    return TableSubscribed(table=_table(frame, id_), filter=kept, id=id_)


def _unsubscribe(frame: dict[str, Any], id_: Any) -> Frame:
    if "channel" in frame:
        return ChannelUnsubscribed(channel=check_word("channel", frame["channel"]), id=id_)
    return TableUnsubscribed(table=_table(frame, id_), id=id_)


def _table(frame: dict[str, Any], id_: Any) -> str:
    table = frame.get("table")
    if not isinstance(table, str) or not table:
        raise Refused('Missing "table" field', id_)
    return table


def _track(frame: dict[str, Any], id_: Any) -> Frame:
    return PresenceTracked(metadata=_metadata(frame), id=id_)


def _update(frame: dict[str, Any], id_: Any) -> Frame:
    return PresenceUpdated(metadata=_metadata(frame), id=id_)


def _metadata(frame: dict[str, Any]) -> Any:
    metadata = frame.get("metadata")
    return bounded_json("metadata", metadata if isinstance(metadata, dict | list) else {}, most=METADATA_MAX_BYTES)


def _auth(frame: dict[str, Any], id_: Any) -> Frame:
    token = frame.get("token")
    if not isinstance(token, str) or not token:
        raise Refused('Missing "token" field', id_)
    return TokenGiven(token=token, id=id_)


_READERS: Mapping[str, Callable[[dict[str, Any], Any], Frame]] = {
    "event": _event,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "presence_track": _track,
    "presence_update": _update,
    "auth": _auth,
}


def _json(value: Any) -> str:
    """Raises InvalidInput for what is nested too deeply to be written again."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (RecursionError, ValueError):
        raise InvalidInput("payload: is nested too deeply") from None


def _id(value: Any) -> Any:
    """An id that is echoed: a number or a short text."""
    if isinstance(value, str) and len(value) <= _ID_MAX_CHARS:
        return value
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _shown(value: Any) -> str:
    """As JavaScript would write it into a text, cut."""
    if isinstance(value, str):
        return value[:_SHOWN_CHARS]
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)[:_SHOWN_CHARS]
    return "[object Object]" if isinstance(value, dict) else ""


# What it is told.


def connected(app_id: str, role: str) -> str:
    return _written({"type": "connected", "app_id": app_id, "role": f"butterbase_{role}"})


def heartbeat(now_ms: int) -> str:
    return _written({"type": "heartbeat", "timestamp": iso(now_ms)})


def error(message: str, id_: Any = None) -> str:
    return _written({"type": "error", "message": message}, id_)


def no_handler(event: str, id_: Any) -> str:
    return error(f"No handler for event: {event[:NAME_MAX_CHARS]}", id_)


def event_response(event: str, data: str, id_: Any) -> str:
    """`data` is JSON in ASCII."""
    head = _written({"type": "event_response", "event": event}, id_)
    return f'{head[:-1]},"data":{data}}}'


def subscribed_table(frame: TableSubscribed) -> list[str]:
    """No table is watched here, so the client is told that nothing will come."""
    told = {"type": "subscribed", "table": frame.table}
    if frame.filter is not None:
        told = {**told, "filter": frame.filter}  # type: ignore[dict-item]
    warning = {
        "type": "warning",
        "code": _NOT_WATCHED,
        "table": frame.table,
        "message": f'Table "{frame.table}" is not watched: no change events will come for it',
        "remediation": "Use a channel: functions publish to it, and clients subscribe to it.",
    }
    return [_written(told, frame.id), _written(warning)]


def unsubscribed_table(frame: TableUnsubscribed) -> str:
    return _written({"type": "unsubscribed", "table": frame.table}, frame.id)


def subscribed_channel(channel: str, id_: Any) -> str:
    return _written({"type": "subscribed", "channel": channel}, id_)


def unsubscribed_channel(channel: str, id_: Any) -> str:
    return _written({"type": "unsubscribed", "channel": channel}, id_)


def missed(channel: str, since: int, first: int) -> str:
    """Messages after `since` are not kept any more; the first that is, or will be, is `first`."""
    return _written(
        {
            "type": "warning",
            "code": "MESSAGES_MISSED",
            "channel": channel,
            "since": since,
            "first_seq": first,
            "message": "Messages between these are not kept any more",
        }
    )


def message(told: Message) -> str:
    head = _written({"type": "message", "channel": told.channel, "event": told.event, "seq": told.seq})
    return f'{head[:-1]},"data":{told.data}}}'


def presence_client(client_id: str, user_id: str | None, metadata: str) -> str:
    """What is shown of a client that is tracked; `metadata` is JSON in ASCII."""
    head = _written({"client_id": client_id, "user_id": user_id})
    return f'{head[:-1]},"metadata":{metadata}}}'


def presence_state(clients: Iterable[str], id_: Any) -> str:
    """`clients` are those of `presence_client`."""
    head = _written({"type": "presence_state"}, id_)
    return f'{head[:-1]},"clients":[{",".join(clients)}]}}'


def presence_join(client: str) -> str:
    return f'{{"type":"presence_join",{client[1:]}'


def presence_update(client_id: str, metadata: Any) -> str:
    return _written({"type": "presence_update", "client_id": client_id, "metadata": metadata})


def presence_leave(client_id: str, user_id: str | None) -> str:
    return _written({"type": "presence_leave", "client_id": client_id, "user_id": user_id})


def authenticated(role: str, id_: Any) -> str:
    return _written({"type": "authenticated", "role": f"butterbase_{role}"}, id_)


def token_expiring(ends_ms: int) -> str:
    return _written(
        {
            "type": "warning",
            "code": "TOKEN_EXPIRING",
            "expires_at": iso(ends_ms),
            "message": 'The token ends soon: send {"type": "auth", "token"} with a new one',
        }
    )


def _written(frame: Mapping[str, Any], id_: Any = None) -> str:
    return json.dumps(frame if id_ is None else {**frame, "id": id_}, separators=(",", ":"))
