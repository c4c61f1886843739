"""Keys and signatures of tokens. joserfc takes long to load, so only what checks a token imports this."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet, OctKey

from isolet.domain.strict_json import read_json
from isolet.domain.tokens import PUBLIC_ALGORITHMS, SHARED_ALGORITHMS

__all__ = ["JoseError", "KeySet", "OctKey", "header", "verified"]

# EdDSA is the name that issuers use for Ed25519; that a later standard prefers another is no news for a log.
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)


def header(token: str) -> dict[str, Any]:
    """What a token says of itself, unchecked. Raises JoseError or ValueError for what is none."""
    return dict(jws.extract_compact(token.encode("ascii")).headers())


def verified(token: str, keys: OctKey | KeySet) -> dict[str, Any]:
    """The claims. A key set takes only signatures, a secret only HMACs, so that neither passes for the other.

    Functions are told them, so they are JSON by its standard: the library's reader takes NaN and Infinity.
    Raises JoseError, ValueError, and RecursionError for what is nested too deeply.
    """
    algorithms: Iterable[str] = SHARED_ALGORITHMS if isinstance(keys, OctKey) else PUBLIC_ALGORITHMS
    payload = jws.deserialize_compact(token.encode("ascii"), keys, list(algorithms)).payload
    claims = read_json(payload or b"")
    if not isinstance(claims, dict):
        raise ValueError("the claims are no object")
    return claims
