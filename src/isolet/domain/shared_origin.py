"""What a function may say to a browser on the origin that it shares with all other functions.

Nothing that rules the origin beyond the page itself, no cookie that is the dashboard's or another host's, and no page
that could act as the origin: pages are sandboxed, which gives each an origin of its own. `ISOLET_SHARED_PAGES=plain`
leaves the last out, and lets functions set cookies for the hosts above theirs.
"""

from __future__ import annotations

import re

from isolet.domain.own_keys import is_session_cookie

Headers = list[tuple[bytes, bytes]]
# A browser keeps these for the origin, or acts on them for the origin, whichever function sent them.
_RULING = frozenset(
    {
        # Workers, storage and transport of the origin.
        b"service-worker-allowed",
        b"clear-site-data",
        b"strict-transport-security",
        b"public-key-pins",
        b"public-key-pins-report-only",
        b"expect-ct",
        b"expect-staple",
        b"alt-svc",
        b"alternate-protocol",
        b"origin-agent-cluster",
        b"use-as-dictionary",
        # Reports of what users do on other paths.
        b"nel",
        b"report-to",
        b"reporting-endpoints",
        # What browsers send, or fetch ahead, from then on.
        b"accept-ch",
        b"accept-ch-lifetime",
        b"critical-ch",
        b"speculation-rules",
        b"document-policy",
        b"document-policy-report-only",
        b"require-document-policy",
        # Sessions and identities of the origin.
        b"set-login",
        b"idp-signin-status",
        b"activate-storage-access",
        b"sec-session-registration",
        b"secure-session-registration",
        b"sec-session-challenge",
        b"secure-session-challenge",
        b"shared-storage-write",
        b"observe-browsing-topics",
        b"attribution-reporting-register-source",
        b"attribution-reporting-register-trigger",
        b"attribution-reporting-register-os-source",
        b"attribution-reporting-register-os-trigger",
    }
)
# Types that browsers run scripts of. Several types in one reply are read by the last, so any of them counts.
_PAGE = re.compile(rb"text/html|[/+]xml|text/xsl|multipart/", re.IGNORECASE)
_TYPE = b"content-type"
_PLAIN = b"application/json"
_HARMLESS = frozenset({_PLAIN, b"text/plain;charset=UTF-8"})
_POLICY = b"content-security-policy"
_SANDBOX = (_POLICY, b"sandbox allow-scripts allow-forms allow-popups")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
# What functions ask of users that the browser keeps for the host.
_OF_USERS = frozenset({b"set-cookie", b"www-authenticate"})
_LOOKED_AT = _RULING | _OF_USERS | {_POLICY, _NOSNIFF[0]}
# After the first of these, the segment of the path that is the project's; after others the function's is the fourth.
_OF_PROJECT = frozenset({b"f", b"v1", b"spaces"})
_SCHEME = re.compile(rb"(?:^|,)\s*(basic|digest|ntlm|negotiate)\b", re.IGNORECASE)
_REALM = re.compile(rb'\brealm\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]*))', re.IGNORECASE)
_SCRIPT_DESTINATION = {b"service-worker": b"script", b"sec-fetch-dest": b"serviceworker"}


def tamed(headers: Headers, *, sandboxed: bool, asked: bytes = b"", base: bytes = b"") -> Headers:
    """A function's reply as it may leave on the shared origin. Header names are lower case.

    `asked` is the raw path that a client asked for, where it was one, `base` what stands before it outside of a proxy.

    One with a policy of its own is sandboxed whatever it is: a 304, or a further part, may bring none but its policy,
    which takes the place of that of the page that a browser has kept.
    """
    names = dict(headers)
    if _LOOKED_AT.isdisjoint(names) and len(names) == len(headers) and names.get(_TYPE, _PLAIN) in _HARMLESS:
        # As most replies are.
        return [*headers, _NOSNIFF]
    kept, is_page, typed, has_policy = [], False, False, False
    for name, value in headers:
        if name == _TYPE:
            is_page = is_page or (value not in _HARMLESS and _PAGE.search(value) is not None)
        elif name in _RULING or (name == b"set-cookie" and is_session_cookie(value)):
            continue
        elif name in _OF_USERS and sandboxed:
            root = base + _root(asked) if asked else b"/"
            if confined := _confined(value, root) if name == b"set-cookie" else _own_realm(value, root):
                kept.append((name, confined))
            continue
        elif name == b"x-content-type-options":
            typed = True
        elif name == _POLICY:
            has_policy = True
        kept.append((name, value))
    if is_page:
        return [*kept, _SANDBOX] if sandboxed else kept
    if typed:
        # Browsers take the first one.
        kept = [pair for pair in kept if pair[0] != _NOSNIFF[0]]
    if has_policy and sandboxed:
        kept.append(_SANDBOX)
    kept.append(_NOSNIFF)
    return kept


def _confined(cookie: bytes, root: bytes) -> bytes:
    """A cookie for this host alone, and for paths of the project alone: others get and set none of it."""
    pair, *attributes = cookie.split(b";")
    named = [(attribute.partition(b"=")[0].strip().lower(), attribute) for attribute in attributes]
    # Most browsers take the last one; one that is no path stands for the folder of what they asked for.
    *earlier, last = [one for name, one in named if name == b"path"] or [b""]
    path = last.partition(b"=")[2].strip()
    if path.startswith(b"/") and not path.startswith(root):
        earlier, last = [last], b" Path=" + root
    if earlier:
        named = [(name, one) for name, one in named if name != b"path"] + [(b"", last)]
    return b";".join([pair, *(one for name, one in named if name != b"domain")])


def _own_realm(challenge: bytes, root: bytes) -> bytes:
    """What asks a user for a name and a password, in a realm that is the project's own; empty for what is left out.

    Browsers give what was typed for a realm to whoever of the host asks in its name, and by some schemes what the user
    signed in to the machine with.
    """
    scheme = _SCHEME.search(challenge)
    if scheme is None:
        return challenge
    if scheme[1].lower() != b"basic":
        return b""
    named = list(_REALM.finditer(challenge))
    said = (named[-1][1] or named[-1][2] or b"") if named else b""
    charset = b', charset="UTF-8"' if b"charset" in challenge.lower() else b""
    return b'Basic realm="%b %b"%b' % (root, said, charset)


def _root(asked: bytes) -> bytes:
    """What the paths of a project, or of a function, begin with among those that functions share."""
    parts = asked.split(b"/", 5)
    count = 3 if parts[1:2] and parts[1] in _OF_PROJECT else 5
    return b"/".join(parts[:count]) + b"/"


def without_session(headers: Headers) -> Headers:
    """A function's reply as it may leave on an origin of its own."""
    return [pair for pair in headers if pair[0] != b"set-cookie" or not is_session_cookie(pair[1])]


def asks_for_worker(headers: Headers) -> bool:
    """Whether a browser asks for the script of a service worker, which would rule every path below it."""
    if _SCRIPT_DESTINATION.keys().isdisjoint(dict(headers)):
        return False
    return any(value.strip().lower() == _SCRIPT_DESTINATION.get(name) for name, value in headers)
