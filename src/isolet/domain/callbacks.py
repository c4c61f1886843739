"""Where callbacks may go and what they say. Names are checked again, by address, when the egress process connects."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
import secrets
import zlib
from collections.abc import Collection, Iterable, Sequence
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlsplit

from isolet.domain.networks import Network, is_metadata, is_public
from isolet.errors import RequestError

URL_MAX_CHARS = 2048
HOST_GROUPS = 1024
SECRET_PREFIX = "whsec_"  # noqa: S105 – what every secret begins with
_NAME = re.compile(
    r"(?=.{1,253}\.?$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.?"
)
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")
# What a reply's headers may not say in a request: they belong to the connection, or are ours.
_NOT_SENT = frozenset({"content-length", "expect", "host", "date", "server", "transfer-encoding", "x-invocation-id"})
_OURS = ("webhook-", "x-isolet-", "x-function-", "x-call-id", "x-duration-seconds")


def check_url(
    text: str,
    *,
    label: str = "callback_url",
    allowed: Sequence[str] = (),
    own: Collection[Network] = (),
    http: bool = False,
) -> str:
    """The URL, when a callback may be sent there. Raises RequestError, whose text begins with `label`.

    `allowed` are networks that the operator opened, `own` those that lead to this machine; `http`
    says whether names may be called without TLS.
    """
    if not text or len(text) > URL_MAX_CHARS or re.search(r"[^\x21-\x7e]|[\\<>\"{}|^`]", text):
        raise RequestError(f"{label} is not a valid URL")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise RequestError(f"{label} is not a valid URL") from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or "//" not in text:
        raise RequestError(f"{label} must be an absolute http or https URL")
    if parts.username is not None or parts.password is not None:
        raise RequestError(f"{label} must not hold a user name or a password")
    opened = _check_host(label, host, allowed, own)
    if parts.scheme == "http" and not (http or opened):
        raise RequestError(f"{label} must be an https URL")
    return text.partition("#")[0]


def _check_host(label: str, host: str, allowed: Sequence[str], own: Collection[Network]) -> bool:
    """Whether the operator opened this very address. Raises RequestError for an address that is refused."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2]
        # Browsers read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses; no real name ends in a number.
        if _NUMBER.fullmatch(last) or not _NAME.fullmatch(host):
            raise RequestError(f"{label}: {host!r} is not a host name or an address") from None
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    opened = any(address in ipaddress.ip_network(network) for network in allowed)
    public = is_public(address) and not any(address in network for network in own)
    if is_metadata(address) or not (opened or public):
        raise RequestError(f"{label}: the address {host} is refused")
    return opened


def host_of(url: str) -> str:
    """Host and port as one word."""
    return urlsplit(url).netloc.lower()


def group_of(url: str) -> str:
    """One of `HOST_GROUPS` words, always the same for one host and port. Whoever asks for callbacks may name a host for
    each: deliveries to one place are limited by groups, so that these are few.
    """
    return f"hosts-{zlib.crc32(host_of(url).encode()) % HOST_GROUPS}"


def headers_for(
    reply: Iterable[tuple[str, str]], *, call_id: str, function_name: str, status: int, duration_ms: int, hops: int
) -> list[tuple[str, str]]:
    """The function's own headers and ours; the signature is added when a delivery is sent."""
    own = [(name, value) for name, value in reply if name not in _NOT_SENT and not name.startswith(_OURS)]
    return [
        *own,
        ("x-call-id", call_id),
        ("x-function-name", header_text(function_name)),
        ("x-function-status", str(status)),
        ("x-duration-seconds", f"{duration_ms / 1000:.3f}"),
        ("x-isolet-hops", str(hops)),
    ]


def header_text(text: str) -> str:
    """What any header can hold: the text itself where it is plain ASCII, else its UTF-8 with percent signs."""
    plain = text.isascii() and text.isprintable() and text == text.strip()
    return text if plain else quote(text, safe="", errors="replace")


# Signatures, as https://www.standardwebhooks.com has them.


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(keys: Iterable[str], *, message_id: str, timestamp_s: int, body: bytes) -> str:
    """`webhook-signature`: one `v1,…` for each key, with spaces between."""
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp_s, body)
    made = []
    for key in keys:
        raw = base64.b64decode(key.removeprefix(SECRET_PREFIX))
        made.append("v1," + base64.b64encode(hmac.new(raw, signed, hashlib.sha256).digest()).decode())
    return " ".join(made)


def retry_after_ms(value: str | None, now_ms: int) -> int:
    """What a `Retry-After` header asks for: seconds or a date; 0 for none and for what cannot be read."""
    if not value:
        return 0
    text = value.strip()
    if text.isascii() and text.isdigit():
        return int(text[:9]) * 1000
    try:
        return max(0, round(parsedate_to_datetime(text).timestamp() * 1000) - now_ms)
    except (ValueError, TypeError, OverflowError):
        return 0
