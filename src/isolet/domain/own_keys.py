"""Credentials of the platform inside a request: whoever they belong to, no function may see them.

Found by how they look, so that one that ran out or was revoked stays unseen too. An end user's token is none of them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from itertools import islice
from urllib.parse import unquote_to_bytes

from isolet.domain.access import KEY_PREFIX, TOKEN_PREFIX

Headers = list[tuple[bytes, bytes]]
# The dashboard's session. Cookies know no ports, so browsers send it to functions of the same host, too.
SESSION_COOKIE = b"isolet_session"
_SESSION_TEXT = SESSION_COOKIE.decode()
_PREFIXES = (KEY_PREFIX.encode(), TOKEN_PREFIX.encode())
_ANY_PREFIX = b"(?:" + b"|".join(re.escape(prefix) for prefix in _PREFIXES) + b")"
# At the start of a word, or after an escaped character. Inside a word it is one of the countless texts that contain
# such letters: `risk_level`, or a signature in base64.
_AT_START = rb"(?:(?<![A-Za-z0-9_-])|(?<=%[0-9A-Fa-f]{2}))"
_LOOKS_OWN = re.compile(_AT_START + _ANY_PREFIX + rb"[A-Za-z0-9_-]")
_WHOLE = re.compile(rb"(?=(" + _ANY_PREFIX + rb"[A-Za-z0-9_-]{43}))")
_KEY_IN_TEXT = re.compile(rf"(?:{re.escape(KEY_PREFIX)}|{re.escape(TOKEN_PREFIX)})[A-Za-z0-9_-]{{43}}")
_BASIC = re.compile(rb"basic\s+([A-Za-z0-9+/_=-]+)", re.IGNORECASE)
_COOKIE_NAME = re.compile(rb"[=\s]*(?:__host-|__secure-)?" + SESSION_COOKIE + rb"\s*(?:[=;]|$)", re.IGNORECASE)
# What no client escapes.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]+")
_SPACE = 0x20
# A root key that is a common word may be part of other texts.
_LONG_CHARS = 12
_LOOKED_UP_MAX = 16
# Parts of a header or a query that are looked at one by one; a head has room for thirty thousand.
_PARTS_MAX = 256


class OwnKeys:
    """Knows the root key. `is_known` tells whether a text is a key or a token that was issued."""

    def __init__(self, root_key: str, *, is_known: Callable[[str], bool] = lambda _: False) -> None:
        self._is_known = is_known
        spelled = _spelled(root_key)
        # What all spellings have in common; nothing for a root key that has no plain character.
        self._plain_part = max(_PLAIN.findall(root_key), key=len, default="")
        self._plain_bytes = self._plain_part.encode()
        self.root_pattern = b"|".join(map(_escaped_or_not, spelled))
        bounded = len(root_key) < _LONG_CHARS
        begin, end = (_AT_START, rb"(?![\w-])") if bounded else (b"", b"")
        self._root = re.compile(b"%b(?:%b)%b" % (begin, self.root_pattern, end)) if spelled else None

    def hold(self, value: bytes) -> bool:
        """Whether a text holds one of ours, plain or as HTTP's Basic scheme encodes it, escaped or not."""
        if not self.may_hold(value):
            return False
        return self._holds(value) or (b"%" in value and self._holds(unquote_to_bytes(value)))

    def holds_root(self, data: bytes) -> bool:
        """Whether it may be in there, in whatever spelling."""
        return self._root is not None and self._plain_bytes in data

    def without(self, headers: Headers) -> Headers:
        """The headers less every one that holds one of ours; of cookies and subprotocols only those go that do."""
        # Whatever it holds, the header that is for our keys goes no further anyway.
        if not self.may_hold(b"\n".join([value for name, value in headers if name != b"x-api-key"])):
            return headers
        kept = []
        for name, value in headers:
            if name == b"cookie":
                if rest := self._cookies(value):
                    kept.append((name, rest))
            elif name == b"sec-websocket-protocol":
                # Pages cannot set headers on WebSockets, so some send their key as one of the subprotocols.
                if rest := b", ".join(part.strip() for part in self._kept(value.split(b","))):
                    kept.append((name, rest))
            elif not self.hold(value):
                kept.append((name, value))
        return kept

    def without_in_query(self, target: bytes) -> bytes:
        """The target of a request less the parameters whose value holds one of ours."""
        path, mark, query = target.partition(b"?")
        if not mark or not self.may_hold(query):
            return target
        kept = b"&".join(self._kept(query.split(b"&"), spaced=True))
        return path + b"?" + kept if kept else path

    def may_hold(self, value: bytes) -> bool:
        """The quick look on the path of calls, at one text or many that are joined. False: none of them holds one."""
        # Text is searched faster than bytes are.
        text = value.decode("latin-1")
        if KEY_PREFIX in text or TOKEN_PREFIX in text:
            return True
        if self._root is not None and self._plain_part in text:
            return True
        lowered = text.lower()
        return "basic" in lowered or _SESSION_TEXT in lowered

    def _kept(self, parts: list[bytes], *, spaced: bool = False) -> list[bytes]:
        """Those that hold none; of very many parts none at all, if one does. `spaced`: a plus may stand for a space."""
        if len(parts) <= _PARTS_MAX:
            # Some clients leave a plus as it is that they mean.
            return [part for part in parts if not (self.hold(part) or (spaced and self.hold(_spaced(part))))]
        whole = b"\0".join(parts)
        if sum(map(whole.count, _PREFIXES)) > _LOOKED_UP_MAX or self.hold(whole):
            return []
        return [] if spaced and b"+" in whole and self.hold(_spaced(whole)) else parts

    def _holds(self, value: bytes) -> bool:
        return self._plain(value) or any(self._plain(_decoded(found)) for found in _BASIC.findall(value))

    def _plain(self, value: bytes) -> bool:
        if _LOOKS_OWN.search(value) or (self._root is not None and self._root.search(value)):
            return True
        whole = islice(_WHOLE.finditer(value), _LOOKED_UP_MAX)
        return any(self._is_known(found[1].decode("ascii")) for found in whole)

    def _cookies(self, value: bytes) -> bytes:
        pairs = [pair for one in value.split(b";") if (pair := one.strip()) and not is_session_cookie(pair)]
        return b"; ".join(self._kept(pairs))


def without_keys(text: str) -> str:
    """A text that is kept for people to read, without whole keys and tokens: whoever wrote them there."""
    return _KEY_IN_TEXT.sub("[redacted]", text) if KEY_PREFIX in text or TOKEN_PREFIX in text else text


def _spelled(root_key: str) -> list[bytes]:
    """The bytes that it has in a header, as clients write them: in UTF-8, and in Latin-1 where that has it."""
    latin = [root_key.encode("latin-1")] if max(root_key, default="") <= "\xff" else []
    return [one for one in dict.fromkeys([root_key.encode("utf-8", "surrogateescape"), *latin]) if one]


def _escaped_or_not(text: bytes) -> bytes:
    """A pattern of a text in which any character that an address may not have is written as it is, or escaped."""
    return b"".join(map(_escaped_char, text))


def _escaped_char(char: int) -> bytes:
    plain = re.escape(bytes([char]))
    if _PLAIN.fullmatch(chr(char)) is not None:
        return plain
    return b"(?:%b|(?i:%%%02X)%b)" % (plain, char, rb"|\+" if char == _SPACE else b"")


def is_session_cookie(cookie: bytes) -> bool:
    """Whether a pair of `Cookie`, or a value of `Set-Cookie`, names the dashboard's session.

    Also one without a name whose value spells it: browsers send both alike.
    """
    return _COOKIE_NAME.match(cookie) is not None


def _spaced(part: bytes) -> bytes:
    return part.replace(b"+", b" ")


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text.translate(_STANDARD) + b"==")
    except ValueError:
        return b""


_STANDARD = bytes.maketrans(b"-_", b"+/")
