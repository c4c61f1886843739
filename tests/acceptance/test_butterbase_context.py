"""What a function finds in its second argument when it is called through the Butterbase API."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.butterbase import Butterbase, SharedButterbase
from tests.support.kapso import Kapso
from tests.support.waiting import wait_until

BODIES: list[str] = []
PROBE = """const bodies = [%s];
export default async function handler(req, ctx) {
  try { return Response.json((await bodies[new URL(req.url).searchParams.get("run")](ctx)) ?? null); }
  catch (e) { return Response.json({ thrown: e.message }); }
}"""


def _body(text: str) -> str:
    """One of the bodies that one function has, so that it is deployed once. What they store has names of their own."""
    BODIES.append(text)
    return text


def _run(butterbase: Butterbase, body: str, **options: Any) -> Any:
    """What the body of a handler returns, as JSON; an error's text where it throws."""
    butterbase.deploy("probe", PROBE % ",\n".join(f"async (ctx) => {{ {text} }}" for text in BODIES))
    reply = butterbase.call("probe", params={"run": BODIES.index(body)}, **options)
    assert reply.status_code == 200, reply.text
    return reply.json()


KINDS = _body(
    "const kinds = {}; for (const n of ['env', 'user', 'caller', 'app', 'request', 'db', 'waitUntil',"
    "'idempotency', 'invoke', 'kv']) kinds[n] = typeof ctx[n]; return kinds;"
)


def test_192_all_of_the_context_is_there(shared: SharedButterbase) -> None:
    kinds = _run(shared, KINDS)

    functions = {"waitUntil": "function", "invoke": "function"}
    names = ("env", "user", "caller", "app", "request", "db", "idempotency", "kv")
    assert kinds == {**dict.fromkeys(names, "object"), **functions}


MEMBERS = _body(
    "return [ctx.API_KEY, ctx.lower, typeof ctx.KV.get, ctx.env.API_KEY, ctx.env.lower, ctx.env.KV,"
    "Object.keys(ctx.env).filter((n) => !n.startsWith('BUTTERBASE_')).sort(),"
    "Object.keys(ctx).filter((n) => n.includes('isolet'))];"
)


def test_upper_case_variables_are_members_and_all_are_in_env(butterbase: Butterbase) -> None:
    butterbase.client.patch(f"/v1/{butterbase.app}/env", json={"API_KEY": "k-12345678", "lower": "x", "KV": "no"})

    seen = _run(butterbase, MEMBERS)

    expected = ["k-12345678", None, "function", "k-12345678", "x", "no", ["API_KEY", "KV", "lower"], []]
    assert seen == expected


CHANGES = _body("const before = ctx.env.X ?? null; ctx.env.X = 'mine'; return before;")


def test_a_function_cannot_change_the_environment_of_the_next_call(shared: SharedButterbase) -> None:
    assert [_run(shared, CHANGES), _run(shared, CHANGES)] == [None, None]


WHERE = _body("return [ctx.app, ctx.request];")


def test_ctx_app_and_request_tell_where_it_runs(shared: SharedButterbase) -> None:
    app, request = _run(shared, WHERE, headers={"X-Request-Id": "r-1"})

    assert (app["id"], app["allowedOrigins"]) == (shared.app, ["*"])
    assert request == {"id": "r-1", "ip": "127.0.0.1", "country": None, "functionName": "probe"}


NUMBERED = _body(
    "await ctx.db.query('CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b)');"
    "await ctx.db.query('INSERT INTO t (a, b) VALUES ($1, $2), ($2, $1)', ['x', true]);"
    "return (await ctx.db.query(\"SELECT a, b, '$1' AS text FROM t WHERE a = $1 -- $2\\n\", ['x'])).rows;"
)


def test_193_queries_take_numbered_parameters(shared: SharedButterbase) -> None:
    rows = _run(shared, NUMBERED)

    assert rows == [{"a": "x", "b": 1, "text": "$1"}]


ROLES = {name: _body(f"return ctx.db.{name}('u', () => 1);") for name in ("asUser", "asAnon")}


@pytest.mark.parametrize("name", ROLES)
def test_194_roles_that_do_not_exist_are_not_pretended(shared: SharedButterbase, name: str) -> None:
    thrown = _run(shared, ROLES[name])

    assert "row-level security" in thrown["thrown"]


def test_195_work_given_to_wait_until_goes_on_after_the_reply(shared: SharedButterbase) -> None:
    shared.deploy(
        "later",
        "export default async (req, ctx) => {"
        "if (req.method === 'GET') return Response.json(await ctx.kv.get('done'));"
        "if (req.method === 'PUT') return Response.json(await ctx.kv.set('go', true));"
        "ctx.waitUntil((async () => { while (!(await ctx.kv.get('go'))) await new Promise((r) => setTimeout(r, 20));"
        "await ctx.kv.set('done', true); })());"
        "ctx.waitUntil(Promise.reject(new Error('ignored')));"
        "return Response.json(await ctx.kv.get('done')); }",
    )

    assert shared.call("later", "POST").json() is None
    assert shared.call("later").json() is None
    assert shared.call("later", "PUT").status_code == 200
    assert wait_until(lambda: shared.call("later").json(), what="the work after the reply") is True


def test_196_a_key_is_claimed_once_whoever_asks_at_once(shared: SharedButterbase) -> None:
    code = "export default async (req, ctx) => Response.json(await ctx.idempotency.claim('k', { scope: 's' }))"
    shared.deploy("claim", code)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda _: shared.call("claim").json(), range(16)))

    assert sorted(won) == [False] * 15 + [True]


SCOPES = _body(
    "const { claim } = { claim: (...a) => ctx.idempotency.claim(...a) };"
    "const first = [await claim('k'), await claim('k'), await claim('k', { scope: 'other' })];"
    "await claim('short', { ttlSeconds: 0.001 }); await new Promise((r) => setTimeout(r, 20));"
    "return [...first, await claim('short')];"
)


def test_196_scopes_are_apart_and_claims_run_out(shared: SharedButterbase) -> None:
    seen = _run(shared, SCOPES)

    assert seen == [True, False, True, True]


NULLS = _body(
    "const claim = (options) => ctx.idempotency.claim('of null', options);"
    "const claims = [await claim(), await claim(null), await claim({ scope: null, ttlSeconds: null })];"
    "return [claims, (await ctx.db.query('SELECT 1 AS a', null)).rows];"
)


def test_null_is_an_option_that_is_left_out(shared: SharedButterbase) -> None:
    seen = _run(shared, NULLS)

    assert seen == [[True, False, False], [{"a": 1}]]


KEYS = {key: _body(f"return ctx.idempotency.claim({key});") for key in ("''", "'k'.repeat(256)", "5")}


@pytest.mark.parametrize("key", KEYS)
def test_197_a_key_that_is_none_throws(shared: SharedButterbase, key: str) -> None:
    thrown = _run(shared, KEYS[key])

    assert "1 to 255 characters" in thrown["thrown"]


COUNTS = _body(
    "const { kv } = ctx; const out = [];"
    "out.push(await kv.get('a')); await kv.set('a', { n: 1 }); out.push(await kv.get('a'));"
    "out.push(await kv.incr('c'), await kv.incr('c', 4), await kv.decr('c', 2), await kv.get('c'));"
    "out.push(await kv.setnx('n', 1), await kv.setnx('n', 2), await kv.get('n'));"
    "out.push(await kv.cas('n', 1, 5), await kv.cas('n', 1, 6), await kv.cas('new', null, 7));"
    "out.push(await kv.mget('n', 'new'));"
    "await kv.setex('e', 'v', 100); out.push(await kv.ttl('e') > 90, await kv.expire('e', 0.001));"
    "await new Promise((r) => setTimeout(r, 20)); "
    "out.push(await kv.get('e'), await kv.exists('e'), await kv.incr('e'));"
    "out.push(await kv.del('a'), await kv.delete('a')); "
    "await kv.mset({ x: 1, y: 2 }); out.push(await kv.mget(['x', 'y']));"
    "return out;"
)


def test_the_key_value_store_counts_and_compares_in_one_step(shared: SharedButterbase) -> None:
    seen = _run(shared, COUNTS)

    assert seen == [
        *(None, {"n": 1}),
        *(1, 5, 3, 3),
        *(True, False, 1),
        *(True, False, True, [5, 7]),
        *(True, True, None, False, 1),
        *(1, False, [1, 2]),
    ]


TIMES = _body(
    "const { kv } = ctx; const out = [];"
    "const near = async (key, seconds) => Math.abs((await kv.ttl(key)) - seconds) < 10;"
    "out.push(await kv.ttl('none'), await kv.del('none'));"
    "await kv.set('ever', 1, { ttl: null }); out.push(await kv.ttl('ever'), await kv.exists('ever'));"
    "await kv.incr('ever'); await kv.cas('ever', 2, 3); out.push(await kv.ttl('ever'), await kv.get('ever'));"
    "await kv.set('k', 1); out.push(await near('k', 30 * 86400), await kv.expire('k', null), await kv.ttl('k'));"
    "await kv.mset({ x: 1 }, { ttl: 60 }); out.push(await kv.cas('x', 1, 2), await near('x', 60));"
    "out.push(await kv.expire('x', 0), await kv.exists('x'), await kv.expire('x', 9));"
    "return out;"
)


def test_the_key_value_store_keeps_a_value_as_long_as_it_is_told(shared: SharedButterbase) -> None:
    seen = _run(shared, TIMES)

    assert seen == [
        *(None, 0),
        *(None, True),
        *(None, 3),
        *(True, True, None),
        *(True, True),
        *(True, False, False),
    ]


TOUCHES = _body(
    "const { kv } = ctx; await kv.set('s', 'session', { ttl: 600 }); await kv.set('ever', 1, { ttl: null });"
    "await ctx.db.query('UPDATE _kv SET expires_at = expires_at - 500000 WHERE key = $1', ['s']);"
    "const left = [await kv.ttl('s') > 110, await kv.get('s'), await kv.ttl('s') > 110];"
    "return [...left, await kv.get('s', { touch: true }), await kv.ttl('s') > 590,"
    "await kv.get('ever', { touch: true }), await kv.ttl('ever'), await kv.get('none', { touch: true })];"
)


def test_a_value_that_is_touched_lives_on_for_the_time_it_was_given(shared: SharedButterbase) -> None:
    seen = _run(shared, TOUCHES)

    assert seen == [False, "session", False, "session", True, 1, None, None]


EARLIER = _body(
    "await ctx.db.query('CREATE TABLE _kv (key TEXT PRIMARY KEY, value TEXT, expires_at INTEGER NOT NULL)');"
    "await ctx.db.query(\"INSERT INTO _kv VALUES ('old', '1', $1)\", [Date.now() + 60000]);"
    "return [await ctx.kv.get('old', { touch: true }), await ctx.kv.incr('old'), await ctx.kv.setnx('new', 1)];"
)


def test_a_key_value_table_of_an_earlier_version_goes_on(butterbase: Butterbase) -> None:
    seen = _run(butterbase, EARLIER)

    assert seen == [1, 2, True]


def test_counting_is_atomic_across_calls(shared: SharedButterbase) -> None:
    shared.deploy("count", "export default async (req, ctx) => Response.json(await ctx.kv.incr('counted'))")
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda _: shared.call("count").json(), range(24)))

    assert sorted(counted) == list(range(1, 25))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (_body("await ctx.kv.set('t', 'text'); return ctx.kv.incr('t');"), "not a whole number"),
        (_body("return ctx.kv.set('', 1);"), "1 to 512 characters"),
        (_body("return ctx.kv.set('big', 'x'.repeat(300000));"), "262144 bytes"),
        (_body("return ctx.kv.expose('k');"), "not available"),
    ],
)
def test_the_key_value_store_says_what_it_does_not_take(shared: SharedButterbase, body: str, text: str) -> None:
    assert text in _run(shared, body)["thrown"]


ERRORS = _body(
    "const tell = (work) => work.catch(({ name, code, status }) => [name, code, status]);"
    "return [await tell(ctx.kv.set('big', 'x'.repeat(300000))), await tell(ctx.kv.get(''))];"
)


def test_errors_of_the_key_value_store_are_told_apart_by_name(shared: SharedButterbase) -> None:
    seen = _run(shared, ERRORS)

    assert seen == [["KvValueTooLargeError", "KV_VALUE_TOO_LARGE", 413], ["KvKeyInvalidError", "bad_request", 400]]


def test_198_a_function_calls_another_and_the_user_goes_with_it(shared: SharedButterbase) -> None:
    shared.deploy(
        "callee",
        "export default async (req, ctx) => Response.json({ body: await req.json(), user: ctx.user,"
        "caller: ctx.caller.type,"
        "from: req.headers.get('x-butterbase-caller-source-fn'), depth: req.headers.get('x-butterbase-loop-depth'),"
        "path: new URL(req.url).pathname, secret: req.headers.get('x-isolet-token') }, { status: 202 })",
        auth="required",
    )
    shared.deploy(
        "outer",
        "export default async (req, { invoke }) => { const r = await invoke('callee', { a: 1 });"
        "return Response.json([r.status, await r.json()]); }",
    )

    headers = {"X-API-Key": shared.key, "X-Butterbase-As-User": "ü-1"}
    status, seen = shared.call("outer", headers={name: value.encode() for name, value in headers.items()}).json()  # type: ignore[misc]

    assert status == 202
    assert seen == {
        "body": {"a": 1},
        "user": {"id": "ü-1"},
        "caller": "loopback",
        "from": "outer",
        "depth": "1",
        "path": f"/v1/{shared.app}/fn/callee",
        "secret": None,
    }


CHOICES = _body(
    "const seen = async (...call) => (await ctx.invoke('told', ...call)).json();"
    "return [await seen(), await seen(null), await seen('{\\'a\\': 1}', null), await seen('', {}), await seen([1]),"
    "await seen({ a: 1 }, { method: 'PUT' }), await seen({ a: 1 }, { method: 'get' }),"
    "(await ctx.invoke('told', 'x', { method: 'HEAD' })).status];"
)


def test_198_a_function_chooses_the_method_and_the_body_of_its_call(shared: SharedButterbase) -> None:
    shared.deploy("told", "export default async (req) => Response.json([req.method, await req.text()])")

    assert _run(shared, CHOICES) == [
        ["POST", ""],
        ["POST", "null"],
        ["POST", "{'a': 1}"],
        ["POST", ""],
        ["POST", "[1]"],
        ["PUT", '{"a":1}'],
        ["GET", ""],
        200,
    ]


def test_198_the_fifth_hop_throws(shared: SharedButterbase) -> None:
    shared.deploy(
        "self",
        "export default async (req, ctx) => { try { return await ctx.invoke('self'); }"
        "catch (e) { return Response.json([e.message, req.headers.get('x-butterbase-loop-depth')]); } }",
    )

    message, depth = shared.call("self").json()

    assert message.startswith("ctx.invoke loop limit exceeded")
    assert depth == "4"
    assert len(shared.logs("self")) == 5


FOREIGN = _body("const r = await ctx.invoke('foreign'); return [r.status, await r.json()];")


def test_198_only_functions_of_the_project_can_be_called(shared: SharedButterbase, root: httpx.Client) -> None:
    root.post("/v1/default/functions", json={"name": "foreign", "code": "export default () => new Response('x')"})

    assert _run(shared, FOREIGN) == [404, {"error": "Function not found"}]
    root.delete("/v1/default/functions/foreign")


SHAPES = [
    "export default async function handler(req, ctx) { return new Response('ran'); }",
    "export default (req) => new Response('ran')",
    "export async function handler(req, ctx) { return new Response('ran'); }",
    "export const handler = async (req: Request): Promise<Response> => new Response('ran');",
    "async function handler(req) { return new Response('ran'); }",
    "export default { fetch() { return new Response('ran'); } }",
]


@pytest.mark.parametrize("code", SHAPES)
def test_200_every_shape_of_handler_runs(shared: SharedButterbase, code: str) -> None:
    name = f"shape-{SHAPES.index(code)}"
    shared.deploy(name, code)

    assert shared.call(name).text == "ran"


def test_203_console_lines_are_bounded(shared: SharedButterbase) -> None:
    shared.deploy(
        "chatty",
        "export default () => { console.log('x'.repeat(20000)); for (let i = 0; i < 200; i++) console.warn({ i });"
        "return new Response(''); }",
    )
    shared.call("chatty")

    lines = shared.logs("chatty")[0]["consoleLogs"]

    assert (len(lines), len(lines[0]["message"]), lines[1]["message"]) == (100, 10_000, '{"i":0}')
    assert lines[1]["level"] == "warn"


def test_a_call_through_another_door_has_a_context_without_a_caller(shared: SharedButterbase) -> None:
    kapso = Kapso(shared.client)
    function_id = kapso.deployed(
        "async function handler(request, env) { return Response.json([env.user, env.caller, env.app.id, typeof env.KV,"
        "Object.keys(env).includes('__isolet')]); }"
    )

    assert kapso.invoke(function_id).json() == [None, None, shared.app, "object", False]


def test_many_calls_at_once_keep_their_users_apart(shared: SharedButterbase) -> None:
    shared.deploy(
        "who",
        "export default async (req, ctx) => { await new Promise((r) => setTimeout(r, 20));"
        "return Response.json(ctx.user.id); }",
    )
    barrier = threading.Barrier(8)

    def ask(number: int) -> tuple[str, str]:
        barrier.wait(60)
        headers = {"X-API-Key": shared.key, "X-Butterbase-As-User": f"u-{number}"}
        return f"u-{number}", str(shared.call("who", headers=headers).json())

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))

    assert all(asked == answered for asked, answered in answers)
