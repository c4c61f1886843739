// Takes POSTs whose X-Signature is the HMAC of the body, in hexadecimal, with the secret WEBHOOK_SECRET.
import { createHmac, timingSafeEqual } from "node:crypto";

export default {
  async fetch(request: Request, env: any): Promise<Response> {
    if (request.method !== "POST") return new Response("POST only\n", { status: 405, headers: { allow: "POST" } });
    if (!env.WEBHOOK_SECRET) return new Response("WEBHOOK_SECRET is not set\n", { status: 500 });
    const body = await request.text();
    const wanted = createHmac("sha256", env.WEBHOOK_SECRET).update(body).digest();
    const given = Buffer.from(request.headers.get("x-signature") ?? "", "hex");
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) {
      return new Response("bad signature\n", { status: 401 });
    }
    console.log("accepted", body.length, "characters");
    return new Response("accepted\n");
  },
};
