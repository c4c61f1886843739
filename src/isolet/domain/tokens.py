"""End users' tokens: what a project says about them, and what a good one claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from isolet.domain.functions import is_storable
from isolet.domain.json_bounds import bounded_json, check_depth
from isolet.errors import InvalidInput

TOKEN_MAX_BYTES = 8192
SECRET_MIN_BYTES = 32
LEEWAY_MAX_S = 300
SUBJECT_MAX_CHARS = 255
SHARED_ALGORITHMS = ("HS256",)
PUBLIC_ALGORITHMS = ("RS256", "ES256", "EdDSA", "Ed25519")
_KEY_TYPES = ("RSA", "EC", "OKP")
_SOURCES = ("hs256_secret", "jwks", "jwks_url")
_TEXT_MAX_CHARS = 2048
_KEYS_MAX = 50
# Of a number of a key, in base64: twice what any that can be used has. Longer ones take long to be read.
_NUMBER_MAX_CHARS = 4096


class TokenSettings(Struct, frozen=True, kw_only=True):
    """Where the keys of a project's tokens are, exactly one of three places, and what the tokens must say."""

    issuer: str | None = None
    audience: str | None = None
    hs256_secret: str | None = None
    jwks: Mapping[str, Any] | None = None
    jwks_url: str | None = None
    leeway_s: int = 30


def check_settings(values: Mapping[str, Any]) -> TokenSettings:
    """Raises InvalidInput."""
    given = [name for name in _SOURCES if values.get(name) is not None]
    if len(given) != 1:
        raise InvalidInput(f"exactly one of {', '.join(_SOURCES)} is needed")
    for name in ("issuer", "audience", "hs256_secret", "jwks_url"):
        _check_text(name, values.get(name))
    secret = values.get("hs256_secret")
    if secret is not None and len(secret.encode()) < SECRET_MIN_BYTES:
        raise InvalidInput(f"hs256_secret must have at least {SECRET_MIN_BYTES} bytes (RFC 7518, 3.2)")
    if values.get("jwks") is not None:
        check_jwks(bounded_json("jwks", values["jwks"]))
    if values.get("jwks_url") is not None:
        _check_url(values["jwks_url"])
    leeway = values.get("leeway_s", 30)
    if isinstance(leeway, bool) or not isinstance(leeway, int) or not 0 <= leeway <= LEEWAY_MAX_S:
        raise InvalidInput(f"leeway_s must be a whole number from 0 to {LEEWAY_MAX_S}")
    return TokenSettings(
        **{name: values.get(name) for name in ("issuer", "audience", *_SOURCES)},
        leeway_s=leeway,
    )


def check_jwks(value: object) -> list[dict[str, Any]]:
    """The public keys of a key set. A shared secret has no place in one. Raises InvalidInput."""
    keys = value.get("keys") if isinstance(value, Mapping) else None
    if not isinstance(keys, list) or not keys or len(keys) > _KEYS_MAX:
        raise InvalidInput(f'jwks must be an object {{"keys": […]}} of 1 to {_KEYS_MAX} keys')
    for key in keys:
        if not isinstance(key, Mapping) or key.get("kty") not in _KEY_TYPES:
            raise InvalidInput(f"jwks may hold public keys of the types {', '.join(_KEY_TYPES)}")
        if "d" in key:
            raise InvalidInput("jwks holds a private key; give the public half only")
        if any(isinstance(key.get(name), str) and len(key[name]) > _NUMBER_MAX_CHARS for name in ("n", "e", "x", "y")):
            raise InvalidInput("jwks holds a key that is too large")
    return keys


def is_user_id(text: str) -> bool:
    """Whether this may stand for a user: functions are told it in a header."""
    return 1 <= len(text) <= SUBJECT_MAX_CHARS and text.isprintable()


def refusal_of(claims: Mapping[str, Any], settings: TokenSettings, now_s: float) -> str | None:
    """Why a token with these claims stands for nobody; None when it stands for its `sub`."""
    try:
        # Functions are told them.
        check_depth("its claims", claims)
    except InvalidInput as exc:
        return exc.message
    subject, leeway = claims.get("sub"), settings.leeway_s
    if not isinstance(subject, str) or not is_user_id(subject):
        return "its sub is missing or not a user id"
    expires = _time(claims.get("exp"))
    if expires is None:
        return "its exp is missing, or no time"
    if expires + leeway <= now_s:
        return "it has expired"
    for name in ("nbf", "iat"):
        begins = _time(claims.get(name)) if name in claims else None
        if name in claims and (begins is None or begins - leeway > now_s):
            return f"its {name} is in the future"
    if settings.issuer is not None and claims.get("iss") != settings.issuer:
        return "its issuer is another one"
    if settings.audience is not None:
        audience = claims.get("aud")
        if settings.audience not in (audience if isinstance(audience, list) else [audience]):
            return "its audience is another one"
    return None


def _time(value: object) -> float | None:
    """None for what is no time, numbers beyond a double included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _check_text(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value or len(value) > _TEXT_MAX_CHARS or not is_storable(value):
        raise InvalidInput(f"{name} must be a text of 1 to {_TEXT_MAX_CHARS} characters")


def _check_url(text: str) -> None:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    plain = text.isascii() and text.isprintable() and " " not in text
    if not plain or parts.scheme not in ("https", "http") or not host or parts.username is not None:
        raise InvalidInput(f"jwks_url: {text!r} is not an address such as https://example.com/.well-known/jwks.json")
