import { Hono } from "hono";

interface Bindings {
  CURRENCY: string;
  PRICES: { get(key: string): Promise<string | null>; put(key: string, value: string): Promise<void> };
}

const app = new Hono<{ Bindings: Bindings }>();

app.get("/", (c) => c.text("shop-api"));

app.get("/prices/:item", async (c) => {
  const price = await c.env.PRICES.get(c.req.param("item"));
  return price === null ? c.json({ error: "no such item" }, 404) : c.json({ price: Number(price), in: c.env.CURRENCY });
});

app.put("/prices/:item", async (c) => {
  const price = Number(await c.req.text());
  if (!Number.isFinite(price)) return c.json({ error: "not a number" }, 400);
  await c.env.PRICES.put(c.req.param("item"), String(price));
  return c.body(null, 204);
});

export default app;
