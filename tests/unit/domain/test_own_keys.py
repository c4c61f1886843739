import base64
from urllib.parse import quote, quote_plus

import pytest

from isolet.domain.own_keys import OwnKeys, is_session_cookie, without_keys

ROOT = "root-key-of-the-tests"
KEY, TOKEN = "isk_" + "k" * 43, "ist_" + "t" * 43
KEYS = [KEY, TOKEN, ROOT, "isk_revoked", "ist_x"]


@pytest.fixture
def own() -> OwnKeys:
    return OwnKeys(ROOT)


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", ["%s", "Bearer %s", "Token %s", "token=%s", '"%s"', "a,%s,b", "Bearer%%20%s", "k:%s"])
def test_a_header_with_one_of_ours_goes_no_further(own: OwnKeys, key: str, form: str) -> None:
    kept = (b"accept", b"*/*")
    for name in (b"authorization", b"x-forwarded-authorization", b"x-anything"):
        assert own.without([kept, (name, (form % key).encode())]) == [kept]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", ["%s:", ":%s", "user:%s", "%s:x"])
def test_one_as_user_or_password_is_found(own: OwnKeys, key: str, form: str) -> None:
    assert own.without([(b"authorization", basic(form % key))]) == []
    assert own.without([(b"x-auth", basic(form % key).lower()[:6] + basic(form % key)[6:].rstrip(b"="))]) == []


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0.ab-isk_cd",
        b"risk_level=3",
        b"disk_usage, list_items, first_name",
        b"Bearer an-end-users-token",
        b"Basic " + base64.b64encode(b"user:password"),
        b"Basic %%% not base64",
        b"basic",
        b"a root-key of-the-tests",
        b"\xff\xfe",
    ],
)
def test_everything_else_passes(own: OwnKeys, value: bytes) -> None:
    headers = [(b"x-one", value), (b"authorization", value)]
    assert own.without(headers) == headers


def test_a_key_that_was_issued_is_found_inside_of_words_too() -> None:
    headers = [(b"x-one", b"prefix_" + KEY.encode() + b"_suffix")]
    assert OwnKeys(ROOT).without(headers) == headers
    assert OwnKeys(ROOT, is_known=lambda text: text == KEY).without(headers) == []


def test_a_short_root_key_is_found_as_a_word() -> None:
    own = OwnKeys("test")
    assert own.without([(b"authorization", b"Bearer test")]) == []
    headers = [(b"x-one", b"latest"), (b"x-two", b"test-drive")]
    assert own.without(headers) == headers


def test_a_root_key_of_any_characters_is_found_escaped_too() -> None:
    own = OwnKeys("ünd/so+weiter=")
    for value in ("Bearer ünd/so+weiter=".encode(), b"token=%C3%BCnd%2Fso%2Bweiter%3D"):
        assert own.without([(b"authorization", value)]) == []


@pytest.mark.parametrize("root", ["a key/of+odd=chars! (1)", "ünd so weiter", "ключ", "!!", "test"])
def test_a_root_key_is_found_however_clients_escape_it(root: str) -> None:
    own = OwnKeys(root)
    latin = [root.encode("latin-1")] if root.isascii() or "ü" in root else []
    spelled = {root.encode(), *latin, quote(root, safe="").encode(), quote_plus(root).encode()}
    # As JavaScript has it, which leaves some more as they are, and as .NET does.
    spelled |= {quote(root, safe="!'()*").encode(), quote_plus(root, safe="!'()*").lower().encode()}
    for text in spelled:
        for form in (b"token=%b", b"Bearer%%20%b", b"%b"):
            assert own.hold(form % text), text
            target = b"/a?" + (form % text).replace(b" ", b"+") + b"&b=1"
            assert own.without_in_query(target) == b"/a?b=1"
    assert not own.hold(b"token=another%20key&x=100%")


def test_basic_credentials_are_found_in_escaped_texts(own: OwnKeys) -> None:
    escaped = quote(basic(f"user:{KEY}").decode(), safe="").encode()
    assert own.without([(b"cookie", b"a=1; auth=" + escaped)]) == [(b"cookie", b"a=1")]
    assert own.without_in_query(b"/a?auth=" + escaped) == b"/a"


def test_whole_keys_are_taken_out_of_texts() -> None:
    text = f'{{"url":"https://a.test/?k={KEY}&t={TOKEN}","list_items":"isk_ or risk_level"}}'
    assert without_keys(text) == (
        '{"url":"https://a.test/?k=[redacted]&t=[redacted]","list_items":"isk_ or risk_level"}'
    )


def test_of_cookies_only_ours_go(own: OwnKeys) -> None:
    cookies = f"a=1; isolet_session=s; key={KEY}; b=2".encode()
    assert own.without([(b"cookie", cookies)]) == [(b"cookie", b"a=1; b=2")]
    assert own.without([(b"cookie", b"Isolet_Session=s")]) == []


def test_of_subprotocols_only_ours_go(own: OwnKeys) -> None:
    name = b"sec-websocket-protocol"
    assert own.without([(name, f"isolet, token.{KEY}".encode())]) == [(name, b"isolet")]
    assert own.without([(name, f"token.{TOKEN}".encode())]) == []


def test_of_a_query_only_parameters_go_that_hold_ours(own: OwnKeys) -> None:
    for given, kept in (
        (f"/a?token={KEY}&b=1", "/a?b=1"),
        (f"/a?token={ROOT}", "/a"),
        (f"/a?auth=Bearer+{TOKEN}&auth=Bearer%20{TOKEN}&c", "/a?c"),
        ("/a?risk_level=1&token=eyJ.a.b", "/a?risk_level=1&token=eyJ.a.b"),
        (f"/{KEY}", f"/{KEY}"),
    ):
        assert own.without_in_query(given.encode()) == kept.encode()


def test_of_the_largest_head_few_texts_are_looked_up() -> None:
    asked: list[str] = []
    own = OwnKeys(ROOT, is_known=lambda text: bool(asked.append(text)))
    for piece in (b"aisk_", b"basic ", b"basic a", b"%20", b"isolet_session"):
        own.without([(b"x-one", piece * (65_536 // len(piece)))])
    assert len(asked) < 200


@pytest.mark.parametrize(
    "cookie",
    [
        b"isolet_session=x; Path=/dashboard",
        b"ISOLET_session=x",
        b" isolet_session =x",
        b"=isolet_session=x",
        b"== isolet_session=x",
        b"isolet_session",
        b"isolet_session; Path=/",
        b"=isolet_session",
        b"__Host-isolet_session=x",
        b"__secure-isolet_session=x",
        b"\tisolet_session\t=x",
    ],
)
def test_cookies_that_browsers_send_as_the_dashboards_session(cookie: bytes) -> None:
    assert is_session_cookie(cookie)


@pytest.mark.parametrize("cookie", [b"isolet_session2=x", b"a=isolet_session=x", b"my_isolet_session=x", b"a=1", b""])
def test_other_cookies(cookie: bytes) -> None:
    assert not is_session_cookie(cookie)


class CountsLooks(OwnKeys):
    looks = 0

    def hold(self, value: bytes) -> bool:
        self.looks += 1
        return super().hold(value)


@pytest.mark.parametrize("key", [*KEYS, "x" + KEY, "a+" + basic(f"u:{KEY}").decode().replace(" ", "+")])
def test_of_thousands_of_parts_none_is_looked_at_by_itself_and_none_passes_with_one_of_ours(key: str) -> None:
    own = CountsLooks(ROOT, is_known=lambda text: text == KEY)
    many = [b"basic a%d" % number for number in range(5_000)]
    found = [*many[:3_000], f"t={key}".encode(), *many[3_000:]]

    assert own.without_in_query(b"/a?" + b"&".join(many)) == b"/a?" + b"&".join(many)
    assert own.without([(b"cookie", b"; ".join(many))]) == [(b"cookie", b"; ".join(many))]
    assert own.without([(b"sec-websocket-protocol", b", ".join(many))])[0][1] == b", ".join(many)
    assert own.without_in_query(b"/a?" + b"&".join(found)) == b"/a"
    if "+" not in key:
        assert own.without([(b"cookie", b"; ".join(found)), (b"sec-websocket-protocol", b", ".join(found))]) == []
    assert own.looks < 20


def test_the_dashboards_session_goes_from_among_many_cookies(own: OwnKeys) -> None:
    many = [b"a=%d" % number for number in range(1_000)]
    assert own.without([(b"cookie", b"; ".join([*many, b"isolet_session=x"]))]) == [(b"cookie", b"; ".join(many))]
