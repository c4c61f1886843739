"""End users' tokens: good ones name a user, bad ones of every kind nobody."""

import base64
import hashlib
import hmac
import json
import math
import threading
import time
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from tests.support.butterbase import Butterbase
from tests.support.server import Server

SECRET = "a-shared-secret-of-forty-characters-or-so"
WHO = "export default (req, ctx) => Response.json({ user: ctx.user, caller: ctx.caller.type, bearer: req.headers.get('authorization') })"  # noqa: E501
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"})
RULES = {"issuer": "https://issuer.example", "audience": "app"}
# Some tokens are made as the tests are collected: no run takes so long.
_LONG_S = 43_200
ALGORITHMS = ["HS256", "HS512", "RS256", "RS512", "ES256", "EdDSA"]


def _public(*keys: Any) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


def _claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    known = {"sub": "u-1", "iss": "https://issuer.example", "aud": "app", "iat": now, "exp": now + 2 * _LONG_S}
    claims = {**known, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def _token(key: Any, algorithm: str, header: dict[str, Any] | None = None, **changes: Any) -> str:
    kid = {"kid": key.kid} if key.kid else {}
    with warnings.catch_warnings():
        # EdDSA is an old name by now; clients use it all the same.
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.encode({"alg": algorithm, **kid, **(header or {})}, _claims(**changes), key, algorithms=ALGORITHMS)


def _b64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _set(butterbase: Butterbase, **rules: Any) -> httpx.Response:
    return butterbase.client.put(f"/isolet/v1/projects/{butterbase.app}/auth", json=rules)


def _call(butterbase: Butterbase, token: str, name: str = "who") -> httpx.Response:
    return butterbase.call(name, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture(scope="module")
def house(server: Server, root: httpx.Client) -> Iterator[Butterbase]:
    """A project with the functions `who` (optional) and `closed` (required)."""
    assert root.post("/isolet/v1/projects", json={"slug": "tokens"}).status_code == 201
    key = root.post("/isolet/v1/projects/tokens/keys", json={"name": "test", "role": "admin"}).json()["key"]
    with server.client(key) as client, server.client("") as public:
        made = Butterbase(client, public)
        made.deploy("who", WHO, auth="optional")
        made.deploy("closed", WHO, auth="required")
        yield made
    assert root.delete("/isolet/v1/projects/tokens").status_code == 204


@pytest.fixture
def secured(house: Butterbase) -> Butterbase:
    """With a shared secret, whatever the test before has set."""
    assert _set(house, hs256_secret=SECRET, **RULES).status_code == 200
    return house


def test_169_a_good_token_names_the_user_and_is_forwarded(secured: Butterbase) -> None:
    token = _token(OctKey.import_key(SECRET), "HS256")

    reply = _call(secured, token, "closed")

    assert reply.json() == {"user": {"id": "u-1"}, "caller": "end_user_jwt", "bearer": f"Bearer {token}"}


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")])
def test_169_public_keys_of_every_kind_verify(secured: Butterbase, key: Any, algorithm: str) -> None:
    assert _set(secured, jwks=_public(RSA, EC, ED), **RULES).status_code == 200

    assert _call(secured, _token(key, algorithm)).json()["user"] == {"id": "u-1"}


NOW = int(time.time())
HS = OctKey.import_key(SECRET)
BAD_WITH_SECRET = {
    "no token": "x",
    "alg none": f"{_b64({'alg': 'none'})}.{_b64(_claims())}.",
    "alg none signed": f"{_b64({'alg': 'none'})}.{_b64(_claims())}.c2ln",
    "wrong key": _token(OctKey.import_key("b" * 40), "HS256"),
    "another HMAC": _token(HS, "HS512"),
    "signature cut": _token(HS, "HS256")[:-4],
    "claims swapped": ".".join(
        [_token(HS, "HS256").split(".")[0], _b64(_claims(sub="admin")), _token(HS, "HS256").split(".")[2]]
    ),
    "wrong issuer": _token(HS, "HS256", iss="https://other.example"),
    "no issuer": _token(HS, "HS256", iss=None),
    "wrong audience": _token(HS, "HS256", aud="other"),
    "audiences without ours": _token(HS, "HS256", aud=["a", "b"]),
    "expired": _token(HS, "HS256", exp=NOW - 120),
    "no expiry": _token(HS, "HS256", exp=None),
    "expiry as text": _token(HS, "HS256", exp="9999999999"),
    "not yet": _token(HS, "HS256", nbf=NOW + _LONG_S),
    "from the future": _token(HS, "HS256", iat=NOW + _LONG_S),
    "no subject": _token(HS, "HS256", sub=None),
    "empty subject": _token(HS, "HS256", sub=""),
    "subject no text": _token(HS, "HS256", sub=5),
    "subject with a line end": _token(HS, "HS256", sub="u\r\nx-app-id: other"),
    "public key where a secret is": _token(RSA, "RS256"),
    "oversized": _token(HS, "HS256", padding="x" * 9000),
    "not ASCII": "é.é.é",
    "claims no object": f"{_b64({'alg': 'HS256'})}.{_b64([1])}.c2ln",
    "expiry beyond a double": _token(HS, "HS256", exp=10**400),
    "expiry that never ends": _token(HS, "HS256", exp=math.inf),
    "expiry that is no number": _token(HS, "HS256", exp=math.nan),
    "issued beyond a double": _token(HS, "HS256", iat=10**400),
    "begins before all time": _token(HS, "HS256", nbf=-math.inf),
    "claims nested deeply": _token(HS, "HS256", a=json.loads("[" * 70 + "]" * 70)),
    "a claim that is no number": _token(HS, "HS256", a=[math.nan]),
    "deep": f"{_b64({'alg': 'HS256'})}.{base64.urlsafe_b64encode(b'[' * 3000).decode()}.c2ln",
}


@pytest.mark.parametrize("kind", BAD_WITH_SECRET)
def test_170_a_bad_token_is_nobody(secured: Butterbase, kind: str) -> None:
    headers = {"Authorization": b"Bearer " + BAD_WITH_SECRET[kind].encode()}

    optional = secured.call("who", headers=headers)
    required = secured.call("closed", headers=headers)

    assert (optional.status_code, optional.json()["user"], optional.json()["caller"]) == (200, None, "anonymous")
    assert (required.status_code, required.json()["error"]["code"]) == (401, "AUTH_REQUIRED")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(_token(STRANGER, "RS256"), id="wrong key of the right name"),
        pytest.param(_token(RSA, "RS512"), id="another algorithm"),
        pytest.param(_token(RSA, "RS256", {"kid": "unknown"}), id="unknown key"),
    ],
)
def test_170_a_key_set_takes_only_its_own_signatures(secured: Butterbase, token: str) -> None:
    _set(secured, jwks=_public(RSA, EC), **RULES)

    assert _call(secured, token).json()["user"] is None


def test_170_the_public_key_does_not_pass_for_a_secret(secured: Butterbase) -> None:
    _set(secured, jwks=_public(RSA), **RULES)
    head, body = _b64({"alg": "HS256", "kid": "rsa", "typ": "JWT"}), _b64(_claims())
    for secret in (RSA.as_pem(private=False), json.dumps(_public(RSA)["keys"][0]).encode()):
        mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
        signature = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
        assert _call(secured, f"{head}.{body}.{signature}").json()["user"] is None


def test_clocks_may_differ_a_little(secured: Butterbase) -> None:
    now = int(time.time())
    _set(secured, hs256_secret=SECRET, leeway_s=60, **RULES)

    assert _call(secured, _token(HS, "HS256", exp=now - 20, iat=now + 20, nbf=now + 20)).json()["user"] == {"id": "u-1"}


def test_171_a_token_of_another_project_is_nobody(secured: Butterbase, root: httpx.Client) -> None:
    trigger = {"type": "http", "config": {"auth": "none"}}
    root.post("/v1/default/functions", json={"name": "who", "code": WHO, "trigger": trigger})

    reply = secured.public.get("/v1/default/fn/who", headers={"Authorization": f"Bearer {_token(HS, 'HS256')}"})

    assert reply.json()["user"] is None
    root.delete("/v1/default/functions/who")


def test_a_user_cannot_manage_or_speak_for_another(secured: Butterbase) -> None:
    headers = {"Authorization": f"Bearer {_token(HS, 'HS256')}"}

    managed = secured.public.get(secured.base, headers=headers)
    spoken = secured.call("who", headers={**headers, "X-Butterbase-As-User": "u-2"})

    assert (managed.status_code, managed.json()["error"]["code"]) == (401, "AUTH_INVALID_TOKEN")
    assert (spoken.status_code, spoken.json()["error"]["code"]) == (403, "AUTH_IMPERSONATION_FORBIDDEN")


def test_the_secret_is_never_shown_again(secured: Butterbase) -> None:
    shown = secured.client.get(f"/isolet/v1/projects/{secured.app}/auth")

    assert (shown.json()["hs256_secret"], shown.json()["issuer"]) == ("***", RULES["issuer"])
    assert SECRET not in shown.text


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"hs256_secret": "short"},
        {"hs256_secret": RSA.as_pem(private=False).decode()},
        {"hs256_secret": SECRET, "jwks_url": "https://a.example/jwks"},
        {"jwks": {"keys": []}},
        {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}},
        {"jwks": {"keys": [{"kty": "RSA", "n": "x"}]}},
        {"jwks": {"keys": [RSA.as_dict(private=True)]}},
        {"jwks_url": "file:///etc/passwd"},
        {"jwks_url": "https://a.example/x y"},
        {"hs256_secret": SECRET, "leeway_s": 301},
        {"hs256_secret": SECRET, "unknown": 1},
    ],
)
def test_rules_that_are_none_are_refused_and_the_old_ones_stay(secured: Butterbase, rules: dict[str, Any]) -> None:
    assert _set(secured, **rules).status_code == 422
    assert _call(secured, _token(HS, "HS256")).json()["user"] == {"id": "u-1"}


class _Keys(ThreadingHTTPServer):
    """Serves a key set and counts how often it is asked."""

    asked = 0
    keys: dict[str, Any]

    class Handler(BaseHTTPRequestHandler):
        server: "_Keys"

        def do_GET(self) -> None:
            self.server.asked += 1
            body = json.dumps(self.server.keys).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: the tests' output is theirs."""


@pytest.fixture
def keys() -> Iterator[_Keys]:
    served = _Keys(("127.0.0.1", 0), _Keys.Handler)
    served.keys = _public(RSA)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()
    thread.join(60)


def test_keys_behind_an_address_are_fetched_once_kept_and_survive_a_restart(tmp_path: Any, keys: _Keys) -> None:
    url = f"http://127.0.0.1:{keys.server_address[1]}/jwks"
    function = {"name": "who", "code": WHO, "trigger": {"type": "http", "config": {"auth": "none"}}}
    good = {"Authorization": f"Bearer {_token(RSA, 'RS256')}"}
    unknown = {"Authorization": f"Bearer {_token(EC, 'ES256')}"}
    for start in range(2):
        with Server(tmp_path / "data", egress_allow="127.0.0.0/8") as running, running.client() as client:
            if start == 0:
                client.post("/v1/default/functions", json=function)
                rules = {"jwks_url": url, **RULES}
                assert client.put("/isolet/v1/projects/default/auth", json=rules).status_code == 200
            with running.client("") as public:
                seen = [public.get("/v1/default/fn/who", headers=good).json()["user"] for _ in range(5)]
                assert seen == [{"id": "u-1"}] * 5
                for _ in range(5):
                    assert public.get("/v1/default/fn/who", headers=unknown).json()["user"] is None
            assert keys.asked == start + 1


def test_an_address_that_is_refused_verifies_nobody(secured: Butterbase, keys: _Keys) -> None:
    _set(secured, jwks_url=f"http://127.0.0.1:{keys.server_address[1]}/jwks", **RULES)

    assert _call(secured, _token(RSA, "RS256")).json()["user"] is None
    assert keys.asked == 0
