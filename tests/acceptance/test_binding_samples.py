"""The published samples that use `env.KV`, `env.DB` and secrets, as printed.

Two of them call servers on the internet: a server of the test's own stands in for those.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from msgspec import Struct, field

from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.server import Server

BINDINGS = """\
async function handler(request, env) {
const body = await request.json().catch(() => ({}));
await env.KV.put("last-request", JSON.stringify(body));
const { results } = await env.DB.prepare(
"SELECT id, email FROM customers ORDER BY created_at DESC LIMIT 5"
).all();
return new Response(JSON.stringify({
recentCustomers: results
}), {
headers: { "Content-Type": "application/json" }
});
}
"""
SECRETS = """\
async function handler(request, env) {
const apiKey = env.API_KEY;
const webhookSecret = env.WEBHOOK_SECRET;
const response = await fetch("https://api.example.com/data", {
headers: {
Authorization: `Bearer ${apiKey}`
}
});
return new Response("Success");
}
"""
KV_LINES = """\
await env.KV.put("user:123", JSON.stringify(userData));
await env.KV.put("session", token, { expirationTtl: 3600 });
const user = await env.KV.get("user:123", { type: "json" });
const session = await env.KV.get("session");
await env.KV.delete("user:123");
const list = await env.KV.list({ prefix: "user:" });
"""
SESSIONS = """\
async function handler(request, env) {
const webhook = await request.json();
// Only process message received events
if (request.headers.get('X-Webhook-Event') !== 'whatsapp.message.received') {
return new Response('OK');
}
// Extract customer info
const { message, conversation } = webhook;
const customerPhone = message.phone_number;
// Track customer session in KV
const sessionKey = `session:${customerPhone}`;
const session = await env.KV.get(sessionKey, { type: 'json' }) || {
firstContact: new Date().toISOString(),
messageCount: 0
};
session.lastMessage = message.content;
session.lastContact = new Date().toISOString();
session.messageCount++;
// Store session with 24-hour expiration
await env.KV.put(sessionKey, JSON.stringify(session), {
expirationTtl: 86400 // 24 hours
});
// Create or update CRM contact with session data
await fetch('https://api.hubspot.com/contacts/v1/contact', {
method: 'POST',
headers: {
'Authorization': `Bearer ${env.HUBSPOT_API_KEY}`,
'Content-Type': 'application/json'
},
body: JSON.stringify({
properties: [
{ property: 'phone', value: customerPhone },
{ property: 'last_whatsapp_message', value: message.content },
{ property: 'whatsapp_conversation_id', value: conversation.id },
{ property: 'total_messages', value: session.messageCount },
{ property: 'first_contact_date', value: session.firstContact }
]
})
});
return new Response('OK');
}
"""


class StandIn(Struct):
    """Takes what the samples send; each request is its method, path, headers and body."""

    url: str = ""
    requests: list[tuple[str, str, Any, bytes]] = field(default_factory=list)

    def code(self, sample: str) -> str:
        """The sample, with a `fetch` that finds this server under every name."""
        redirect = (
            f'const real = fetch; globalThis.fetch = (url, init) => real("{self.url}" + new URL(url).pathname, init);'
        )
        return f"{redirect}\n{sample}"


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    found = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            found.requests.append((self.command, self.path, self.headers, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        found.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield found
        listening.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def outgoing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project of a server whose functions may reach this machine."""
    folder = tmp_path_factory.mktemp("outgoing")
    with (
        Server(folder / "data", egress_allow="127.0.0.0/8") as server,
        server.client() as root,
        new_project(server, root) as project,
    ):
        yield project


@pytest.fixture
def home(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        yield project


def _stored(project: Project, key: str) -> httpx.Response:
    return project.client.get(f"/isolet/v1/projects/{project.slug}/kv/{key}")


def test_the_sample_of_bindings_stores_the_request_and_reads_customers(home: Project) -> None:
    setup = "CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, created_at TEXT);"
    row = "INSERT INTO customers VALUES (#, 'c#@example.com', '2026-01-0#');"
    setup += "".join(row.replace("#", str(n)) for n in range(1, 8))
    path = f"/isolet/v1/projects/{home.slug}/database/import"
    assert home.client.post(path, content=setup).json() == {"statements": 8}
    kapso = Kapso(home.client)
    reply = kapso.invoke(kapso.deployed(BINDINGS), {"hello": "world"})
    newest = [{"id": n, "email": f"c{n}@example.com"} for n in (7, 6, 5, 4, 3)]
    assert (reply.status_code, reply.json()) == (200, {"recentCustomers": newest})
    assert _stored(home, "last-request").json() == {"hello": "world"}


def test_the_lines_about_kv_do_what_they_say(home: Project) -> None:
    code = "async function handler(request, env) {\nconst { userData, token } = await request.json();\n"
    code += KV_LINES + "return Response.json({ user, session, list });\n}\n"
    kapso = Kapso(home.client)
    reply = kapso.invoke(kapso.deployed(code), {"userData": {"name": "Zoë"}, "token": "t-1"}).json()
    assert (reply["user"], reply["session"]) == ({"name": "Zoë"}, "t-1")
    assert (reply["list"]["keys"], reply["list"]["list_complete"]) == ([], True)
    (key,) = home.client.get(f"/isolet/v1/projects/{home.slug}/kv").json()["data"]
    assert (key["name"], set(key)) == ("session", {"name", "expiration"})


def test_the_sample_of_secrets_sends_its_key(outgoing: Project, stand_in: StandIn) -> None:
    kapso = Kapso(outgoing.client)
    function_id = kapso.deployed(stand_in.code(SECRETS), "Secrets")
    for name in ("API_KEY", "WEBHOOK_SECRET"):
        secret = {"secret": {"name": name, "value": f"value-of-{name}"}}
        assert kapso.client.post(f"{kapso.base}/functions/{function_id}/secrets", json=secret).status_code == 201
    reply = kapso.invoke(function_id, {})
    assert (reply.status_code, reply.text) == (200, "Success")
    method, path, headers, _ = stand_in.requests[-1]
    assert (method, path, headers["authorization"]) == ("GET", "/data", "Bearer value-of-API_KEY")


def test_the_sample_of_sessions_counts_messages_and_tells_the_crm(outgoing: Project, stand_in: StandIn) -> None:
    kapso = Kapso(outgoing.client)
    function_id = kapso.deployed(stand_in.code(SESSIONS), "Sessions")
    secret = {"secret": {"name": "HUBSPOT_API_KEY", "value": "hub-key"}}
    assert kapso.client.post(f"{kapso.base}/functions/{function_id}/secrets", json=secret).status_code == 201
    phone, event = "+15551234567", {"X-Webhook-Event": "whatsapp.message.received"}
    for count, content in ((1, "first"), (2, "second")):
        body = {"message": {"phone_number": phone, "content": content}, "conversation": {"id": "conv-1"}}
        reply = kapso.invoke(function_id, body, headers=event)
        assert (reply.status_code, reply.text) == (200, "OK")
        session = _stored(outgoing, f"session:{phone}").json()
        assert (session["messageCount"], session["lastMessage"]) == (count, content)
        method, path, headers, sent = stand_in.requests[-1]
        assert (method, path, headers["authorization"]) == ("POST", "/contacts/v1/contact", "Bearer hub-key")
        properties = {item["property"]: item["value"] for item in json.loads(sent)["properties"]}
        assert properties == {
            "phone": phone,
            "last_whatsapp_message": content,
            "whatsapp_conversation_id": "conv-1",
            "total_messages": count,
            "first_contact_date": session["firstContact"],
        }
    sent_before = len(stand_in.requests)
    assert kapso.invoke(function_id, {"other": "event"}).text == "OK"
    assert len(stand_in.requests) == sent_before
