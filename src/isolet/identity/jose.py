"""Keys and signatures of tokens. joserfc takes long to load, so only what checks a token imports this."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet, OctKey

from isolet.domain.tokens import PUBLIC_ALGORITHMS, SHARED_ALGORITHMS

__all__ = ["JoseError", "KeySet", "OctKey", "header", "verified"]

# EdDSA is the name that issuers use for Ed25519; that a later standard prefers another is no news for a log.
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)


def header(token: str) -> dict[str, Any]:
    """What a token says of itself, unchecked. Raises JoseError or ValueError for what is none."""
    return dict(jws.extract_compact(token.encode("ascii")).headers())


def verified(token: str, keys: OctKey | KeySet) -> dict[str, Any]:
    """The claims. A key set takes only signatures, a secret only HMACs, so that neither passes for the other."""
    algorithms: Iterable[str] = SHARED_ALGORITHMS if isinstance(keys, OctKey) else PUBLIC_ALGORITHMS
    return dict(jwt.decode(token, keys, algorithms=list(algorithms)).claims)
