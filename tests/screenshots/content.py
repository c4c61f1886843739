"""What is on the pictures: functions of a small shop, called and sometimes failing. Each page has its address here."""

from __future__ import annotations

from typing import Any

import httpx

V1 = "/isolet/v1"
_OF_PROJECT = ("kv", "sql", "queue", "flows", "realtime", "keys", "usage")
ORDERS = """import { total } from "./prices.js";

export default {
  // Takes an order, and answers with what it costs.
  async fetch(request, env) {
    const { items = [] } = await request.json();
    if (items.length === 0) throw new Error("an order needs items");
    const cost = total(items, Number(env.TAX_PERCENT));
    await env.KV.put(`order:${crypto.randomUUID()}`, JSON.stringify({ items, cost }));
    console.log("order of", items.length, "items");
    if (cost > 500) console.warn("a large order:", cost);
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


def fill(root: httpx.Client, slug: str) -> dict[str, str]:
    """Make it all; the address of each page by the name of its picture."""
    files = {"index.js": ORDERS.replace("a large order", "large order"), "prices.js": PRICES}
    orders = _made(root, slug, "orders", files=files, variables={"TAX_PERCENT": "19"}, description="Takes orders")
    _made(root, slug, "greeting", code=GREETING, access="public")
    _made(root, slug, "thumbnails", code=BROKEN)
    root.put(f"{V1}/functions/{orders}/secrets/PAYMENT_TOKEN", json={"value": "x"}).raise_for_status()
    for name, cron in (("close-the-day", "0 22 * * *"), ("remind", "30 9 * * 1-5")):
        made = root.post(f"{V1}/functions/{orders}/schedules", json={"name": name, "cron": cron})
        made.raise_for_status()
        schedule = made.json()["id"]
    root.post(f"{V1}/schedules/{schedule}/run").raise_for_status()
    for number in range(60):
        items = [] if number % 13 == 5 else [{"name": "pot" if number % 9 == 0 else "tea", "count": number % 8 + 1}]
        root.post(f"/f/{slug}/orders/", json={"items": items})
        root.get(f"/f/{slug}/greeting/")
    files["index.js"] = ORDERS
    root.put(f"{V1}/projects/{slug}/functions/orders", params={"wait": 60}, json={"files": files}).raise_for_status()
    root.post(f"{V1}/projects", json={"slug": "shop-staging", "name": "The shop, staging"})
    calls = root.get(f"{V1}/invocations", params={"function": "orders", "status": "failed"}).json()["data"]
    here = f"/dashboard/projects/{slug}/functions"
    pages = {"functions": here, "function-new": f"{here}/new"}
    tabs = ("code", "try", "invocations", "logs", "metrics", "secrets", "triggers", "versions", "settings")
    pages |= {f"function-{tab}": f"{here}/{orders}/{tab}" for tab in tabs}
    pages |= {
        "function-call": f"{here}/{orders}/invocations/{calls[0]['id']}",
        "function-schedule": f"{here}/{orders}/triggers/{schedule}",
        "function-diff": f"{here}/{orders}/versions/1",
        **{name: f"/dashboard/projects/{slug}/{name}" for name in _OF_PROJECT},
        "system": "/dashboard/system",
        "projects": "/dashboard/projects",
        "sessions": "/dashboard/sessions",
    }
    return pages


def _made(root: httpx.Client, slug: str, name: str, **more: Any) -> str:
    """The id of a function, whether its deploy succeeded or not."""
    address = f"{V1}/projects/{slug}/functions"
    root.post(address, params={"wait": 60}, json={"name": name, **more})
    return str(root.get(f"{address}/{name}").json()["id"])
