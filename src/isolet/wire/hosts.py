"""Host and port as a `Host` header and a target may name them (RFC 3986, 3.2.2; RFC 9110, 7.2)."""

from __future__ import annotations

import ipaddress
import re

_NAMED = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+(?::([0-9]{0,5}))?")
_BRACKETED = re.compile(rb"\[([0-9A-Fa-f:.]+)\](?::([0-9]{0,5}))?")
_PORT_MAX = 65_535
# A name has 253 characters at most; this leaves room for what percent signs write.
_MAX_BYTES = 1_024


def is_host(value: bytes) -> bool:
    """Whether this is a name, an IPv4 address or an IPv6 address in brackets, with or without a port."""
    if len(value) > _MAX_BYTES:
        return False
    if (named := _NAMED.fullmatch(value)) is not None:
        return int(named[1] or 0) <= _PORT_MAX
    bracketed = _BRACKETED.fullmatch(value)
    return bracketed is not None and _is_ipv6(bracketed[1]) and int(bracketed[2] or 0) <= _PORT_MAX


def _is_ipv6(value: bytes) -> bool:
    try:
        ipaddress.IPv6Address(value.decode("ascii"))
    except ValueError:
        return False
    return True
