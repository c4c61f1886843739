"""The public address of a function: who may call it there, and under which host names."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from enum import StrEnum
from urllib.parse import unquote_to_bytes, urlsplit

from msgspec import Struct

from isolet.domain.choices import one_of
from isolet.errors import InvalidInput, MethodNotAllowed, RequestError

HOSTS_MAX = 20
_HOST_MAX_CHARS = 253
_LABEL_MAX_CHARS = 63
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SHARED = b"/f/"
_USUAL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# What our parser knows and the runtime does not; and CONNECT, which asks a proxy for a tunnel.
_NOT_PASSED = frozenset({"CONNECT", "BIND", "REBIND", "UNBIND", "MKCALENDAR", "LINK", "UNLINK", "SOURCE", "M-SEARCH"})


class Access(StrEnum):
    """`key` wants a key of the project, `user` an end user's token (or a key); `none` has no public address."""

    PUBLIC = "public"
    KEY = "key"
    USER = "user"
    NONE = "none"


class CorsRules(StrEnum):
    """Who answers pages of other origins: the platform by the project's list, or the function."""

    PLATFORM = "platform"
    FUNCTION = "function"


class Place(Struct, frozen=True, kw_only=True):
    """Where a request asks for: a function of a project, and the raw path that it sees.

    `project` is None for the default project; `prefix` is what stands before the path, empty on a host of its own.
    """

    project: str | None
    function: str
    path: bytes
    prefix: bytes = b""


def check_access(value: object) -> Access:
    return one_of("access", value, Access)


def check_cors(value: object) -> CorsRules:
    return one_of("cors", value, CorsRules)


def check_hosts(value: object) -> list[str]:
    """Names of hosts in lower case, without a port. Raises InvalidInput."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > HOSTS_MAX:
        raise InvalidInput(f"hosts must be a list of at most {HOSTS_MAX} host names")
    hosts = [_check_host(host) for host in value]
    for host in hosts:
        if hosts.count(host) > 1:
            raise InvalidInput(f"hosts: {host} is there twice")
    return hosts


def _check_host(value: object) -> str:
    host = value.strip().lower().removesuffix(".") if isinstance(value, str) else ""
    labels = host.split(".")
    named = len(labels) > 1 and len(host) <= _HOST_MAX_CHARS and all(_LABEL.fullmatch(label) for label in labels)
    if not named or _is_address(host):
        shown = repr(value[:100]) if isinstance(value, str) else "a value"
        raise InvalidInput(f"hosts: {shown} is not a host name such as shop.example.com")
    return host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # Browsers read a name whose last label is a number as an IPv4 address.
        return host.rpartition(".")[2].isdecimal()
    return True


class HostNames(Struct, frozen=True, kw_only=True):
    """`domain` has a host for each function below it; None for none. `reserved` are hosts of the server itself.

    Without `knows_itself` there are others of its own, which nobody told it.
    """

    domain: str | None = None
    reserved: frozenset[str] = frozenset()
    knows_itself: bool = True

    def check_free(self, hosts: Collection[str]) -> None:
        """Raises InvalidInput for a host that is not a function's to claim."""
        if hosts and not self.knows_itself:
            raise InvalidInput(
                "hosts: a function could claim the server's own name; its operator sets ISOLET_PUBLIC_URL first"
            )
        for host in hosts:
            if host in self.reserved:
                raise InvalidInput(f"hosts: {host} is the server's own")
            if self.domain is not None and (host == self.domain or host.endswith(f".{self.domain}")):
                raise InvalidInput(f"hosts: names below {self.domain} follow from the names of functions")

    def label_of(self, host: str) -> str | None:
        """The label before the functions' domain; None for every other host. One with dots names nothing."""
        if self.domain is None or host in self.reserved or not host.endswith(f".{self.domain}"):
            return None
        return host[: -len(self.domain) - 1]

    def url_of(self, function: str, project: str | None) -> str | None:
        """The host of a function below the domain; None when it has none, as its label would be too long."""
        label = function if project is None else f"{function}--{project}"
        if self.domain is None or _LABEL.fullmatch(label) is None:
            return None
        return f"{label}.{self.domain}"


def host_of(url: str | None) -> str | None:
    """The host of an address, in lower case and without its port."""
    return urlsplit(url).hostname if url else None


def plain_host(value: bytes) -> str:
    """A `Host` header in lower case, without port and final dot."""
    text = value.decode("latin-1").lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0].removesuffix(".")


def labels_of(label: str) -> list[tuple[str, str | None]]:
    """What a label may mean, in order: function and project; None is the default project.

    `a--b` is the function `a` of the project `b`, else the default project's `a--b`. Names may hold two hyphens, too.
    """
    if len(label) > _LABEL_MAX_CHARS or "." in label:
        return []
    found: list[tuple[str, str | None]] = []
    at = label.rfind("--")
    while at > 0:
        if label[at + 2 :]:
            found.append((label[:at], label[at + 2 :]))
        at = label.rfind("--", 0, at + 1)
    return [*found, (label, None)]


def shared_place(raw_path: bytes) -> Place | None:
    """Where a path below `/f/` leads; None when it names no function. Raises RequestError for an unsafe path."""
    check_path(raw_path)
    parts = raw_path[len(_SHARED) :].split(b"/", 2)
    if len(parts) < 2 or not parts[0] or not parts[1]:
        return None
    rest = b"/" + parts[2] if len(parts) == 3 else b"/"
    prefix = _SHARED + parts[0] + b"/" + parts[1]
    return Place(project=_text(parts[0]), function=_text(parts[1]), path=rest, prefix=prefix)


def check_method(method: str) -> None:
    """Raises MethodNotAllowed for one that no function can be called with."""
    if method in _NOT_PASSED:
        raise MethodNotAllowed("Method not allowed", allowed=_USUAL_METHODS)


def check_path(raw_path: bytes) -> None:
    """Raises RequestError for a path that runtimes or functions would read as another one than it is."""
    if b"%" not in raw_path and b"/.." not in raw_path and b"\\" not in raw_path:
        return
    for segment in raw_path.split(b"/"):
        decoded = unquote_to_bytes(segment)
        if b"\x00" in decoded:
            raise RequestError("The path must not hold %00")
        if b".." in (part.strip() for part in decoded.replace(b"\\", b"/").split(b"/")):
            raise RequestError("The path must not have the segment ..")


def _text(part: bytes) -> str:
    return unquote_to_bytes(part).decode("utf-8", "replace")
