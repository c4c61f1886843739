"""What is on the pictures: a small shop whose functions were called all day, sometimes in vain."""

from __future__ import annotations

import itertools
import random
from typing import Any

import httpx
from msgspec import Struct

from tests.support.clock import SetClock
from tests.support.waiting import wait_until
from tests.support.workflows import START, a_node

V1 = "/isolet/v1"
SLUG = "default"
EMPTY = "shop-staging"
HOURS = 23
HOUR_MS = 3_600_000
# The share of the day's calls that each hour has, from 23 hours ago on.
_BUSY = (2, 1, 0, 0, 0, 1, 2, 4, 6, 8, 9, 7, 8, 10, 9, 7, 6, 5, 5, 6, 4, 3, 2)
ORDERS = """import { total } from "./prices.js";

export default {
  // Takes an order, and answers with what it costs.
  async fetch(request, env) {
    const { items = [] } = await request.json();
    if (items.length === 0) throw new Error("an order needs items");
    const cost = total(items, Number(env.TAX_PERCENT));
    console.log("order of", items.length, "items");
    if (cost > 800) {
      console.warn("a large order:", cost);
      await env.KV.put(`order:${crypto.randomUUID()}`, JSON.stringify({ items, cost }));
    }
    return Response.json({ cost, currency: "EUR" }, { status: 201 });
  },

  async scheduled(controller, env) {
    console.log("closing the day", new Date(controller.scheduledTime).toISOString());
  },
};
"""
PRICES = """const PRICES = { tea: 4, cup: 12, pot: 95 };

export function total(items, tax) {
  const net = items.reduce((sum, item) => sum + (PRICES[item.name] ?? 0) * item.count, 0);
  return Math.round(net * (100 + tax)) / 100;
}
"""
GREETING = "export default { fetch: () => Response.json({ message: 'Welcome to the shop' }) };\n"
BROKEN = "export default {\n  async fetch(request) {\n    return new Response('thumbnail';\n  },\n};\n"
STOCK = """export default {
  // How many of an item are left.
  async fetch(request, env) {
    const { item } = await request.json();
    const row = await env.DB.prepare("SELECT left FROM stock WHERE item = ?").bind(item).first();
    return Response.json({ item, left: row?.left ?? 0 });
  },
};
"""
PRICE = """export default {
  // What the order of a run costs.
  async fetch(request, env) {
    const { execution_context: { vars } } = await request.json();
    return Response.json({ items: vars.items.length, cost: 127.33, currency: "EUR" });
  },
};
"""
ORDER = {"items": [{"name": "pot", "count": 1}, {"name": "tea", "count": 3}]}


class Ids(Struct, frozen=True, kw_only=True):
    """Of what has a page of its own."""

    orders: str
    thumbnails: str
    stock: str
    unused: str
    failed_call: str
    schedule: str
    flow: str
    run: str
    key: str


def fill(root: httpx.Client, clock: SetClock) -> Ids:
    """Make it all on a server whose clock is `HOURS` behind, and bring the clock to the present."""
    files = {"index.js": ORDERS.replace("a large order", "large order"), "prices.js": PRICES}
    orders = _made(
        root, "orders", files=files, variables={"TAX_PERCENT": "19"}, description="Takes orders", cors="platform"
    )
    _made(root, "greeting", code=GREETING, access="public")
    _made(root, "stock", code=STOCK, access="none")
    stock = _id(root, "stock")
    tool = {
        "mode": "read_only",
        "description": "How many of an item are left",
        "input_schema": {"type": "object", "properties": {"item": {"type": "string"}}},
    }
    _changed(root, "PATCH", f"/functions/{stock}", {"tool": tool})
    _changed(root, "PUT", f"/functions/{orders}/secrets/PAYMENT_TOKEN", {"value": "x"})
    _changed(root, "PUT", f"/functions/{orders}/secrets/MAIL_PASSWORD", {"value": "x"})
    schedules = [
        _changed(root, "POST", f"/functions/{orders}/schedules", {"name": name, "cron": cron})["id"]
        for name, cron in (("close-the-day", "0 22 * * *"), ("remind", "30 9 * * 1-5"))
    ]
    _stores(root)
    for hour in range(HOURS):
        _calls(root, hour)
        if hour % 8 == 3:
            _changed(root, "POST", f"/schedules/{schedules[1]}/run", None)
        clock.step(HOUR_MS)
    files["index.js"] = ORDERS
    root.put(f"{V1}/projects/{SLUG}/functions/orders", params={"wait": 60}, json={"files": files}).raise_for_status()
    _calls(root, 12)
    _made(root, "thumbnails", code=BROKEN)
    _made(root, "unused", code=GREETING)
    _queued(root)
    flow, run = _flows(root, _made(root, "price", code=PRICE))
    _changed(root, "POST", "/projects", {"slug": EMPTY, "name": "The shop, staging"})
    calls = root.get(f"{V1}/invocations", params={"function": "orders", "status": "failed"}).json()["data"]
    return Ids(
        orders=orders,
        thumbnails=_id(root, "thumbnails"),
        stock=stock,
        unused=_id(root, "unused"),
        failed_call=calls[0]["id"],
        schedule=schedules[1],
        flow=flow,
        run=run,
        key=_keys(root),
    )


def _made(root: httpx.Client, name: str, **more: Any) -> str:
    """The id of a function, whether its deploy succeeded or not."""
    root.post(f"{V1}/projects/{SLUG}/functions", params={"wait": 60}, json={"name": name, **more})
    return _id(root, name)


def _id(root: httpx.Client, name: str) -> str:
    return str(root.get(f"{V1}/projects/{SLUG}/functions/{name}").json()["id"])


def _changed(root: httpx.Client, method: str, path: str, body: Any) -> Any:
    reply = root.request(method, V1 + path, **({} if body is None else {"json": body}))
    assert reply.is_success, (path, reply.text)
    return reply.json() if reply.content else None


def _calls(root: httpx.Client, hour: int) -> None:
    """Those of an hour, which are the same whenever pictures are made."""
    chosen = random.Random(hour)
    for number in range(_BUSY[hour]):
        item = {"name": chosen.choice(("tea", "tea", "cup", "pot")), "count": chosen.randint(1, 8)}
        root.post(f"/f/{SLUG}/orders/", json={"items": [] if (hour + number) % 11 == 5 else [item]})
        root.get(f"/f/{SLUG}/greeting/")


def _stores(root: httpx.Client) -> None:
    for statement in (
        "CREATE TABLE stock (item TEXT PRIMARY KEY, left INTEGER NOT NULL, place TEXT)",
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, since TEXT)",
        "INSERT INTO stock VALUES ('tea', 310, 'A1'), ('cup', 42, 'A2'), ('pot', 7, NULL)",
        "INSERT INTO customers (name, since) VALUES ('Ada', '2025-03-01'), ('Grace', '2025-11-12')",
    ):
        _changed(root, "POST", f"/projects/{SLUG}/database/query", {"sql": statement})
    for key, value, metadata in (
        ("settings", '{"open": true, "currency": "EUR"}', '{"by": "Ada"}'),
        ("session:ada", "3f9c", None),
    ):
        headers = {} if metadata is None else {"X-KV-Metadata": metadata}
        address = f"{V1}/projects/{SLUG}/kv/{key}"
        query = {"expiration_ttl": 172_800} if key.startswith("session") else {}
        root.put(address, content=value, headers=headers, params=query).raise_for_status()


def _queued(root: httpx.Client) -> None:
    """Two asynchronous calls that are done, and one that failed; their callbacks cannot be delivered."""
    for body in (ORDER, ORDER, {"items": []}):
        headers = {"x-callback-url": "https://shop.invalid/orders/done"}
        root.post(f"/spaces/{SLUG}/functions/orders/async-invoke", json=body, headers=headers).raise_for_status()
    wait_until(lambda: len(root.get(f"{V1}/deliveries", params={"project": SLUG}).json()["data"]) >= 2)
    _changed(root, "POST", f"/projects/{SLUG}/webhook-secrets", None)


def _flows(root: httpx.Client, price: str) -> tuple[str, str]:
    """A flow with a run that waits, and one that ended."""
    nodes = [
        START,
        a_node("greet", "set_variable", variable_name="greeting", variable_value="Hello {{vars.name}}"),
        a_node("price", "function", function_id=price, save_response_to="price"),
        a_node("confirm", "wait_for_response", save_response_to="answer"),
        a_node("person", "handoff", reason="{{vars.answer}}"),
    ]
    for number, node in enumerate(nodes):
        node["position"] = {"x": 240 * number, "y": 0}
    edges = [{"source": one["id"], "target": two["id"], "label": "next"} for one, two in itertools.pairwise(nodes)]
    made = _changed(
        root,
        "POST",
        f"/projects/{SLUG}/flows",
        {"name": "Confirm an order", "definition": {"nodes": nodes, "edges": edges}},
    )
    _changed(root, "PATCH", f"/flows/{made['id']}", {"status": "active"})
    address = f"/projects/{SLUG}/flows/{made['id']}/executions"
    runs = [_changed(root, "POST", address, {"variables": {"name": name, **ORDER}})["id"] for name in ("Ada", "Grace")]
    for run in runs:
        wait_until(lambda run=run: _changed(root, "GET", f"/executions/{run}", None)["status"] == "waiting")
    _changed(root, "POST", f"/executions/{runs[0]}/cancel", None)
    _changed(root, "POST", f"/projects/{SLUG}/flows", {"name": "Welcome"})
    return made["id"], runs[1]


def _keys(root: httpx.Client) -> str:
    """One that may use realtime."""
    made = [
        _changed(root, "POST", f"/projects/{SLUG}/keys", {"name": name, "role": role})["key"]
        for name, role in (("reports", "read"), ("deploys", "deploy"), ("website", "invoke"))
    ]
    return str(made[-1])
