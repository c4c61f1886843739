// The native API with the rights of the session: see relay.py.

export class Refused extends Error {
  constructor(readonly status: number, readonly code: string, message: string, readonly details: any) {
    super(message);
  }
}

export async function send(token: string, method: string, path: string, body?: unknown, options: { signal?: AbortSignal; headers?: Record<string, string> } = {}): Promise<Response> {
  const headers: Record<string, string> = { "x-form-token": token, ...options.headers };
  if (body !== undefined) headers["content-type"] = "application/json";
  const reply = await fetch("/dashboard/api/" + path, {
    method,
    headers,
    signal: options.signal,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const status = Number(reply.headers.get("x-api-status") ?? reply.status);
  if (status < 400) return reply;
  const told = await reply.json().catch(() => ({}));
  const error = told.error ?? {};
  throw new Refused(status, error.code ?? "", error.message ?? `The server answered ${status}`, error.details);
}

// Reads server-sent events from a reply as they come.
export async function* events(reply: Response): AsyncGenerator<{ name: string; id: string | null; data: string }> {
  const reader = reply.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop()!;
    for (const part of parts) {
      const event = { name: "message", id: null as string | null, data: "" };
      for (const line of part.split("\n")) {
        const [, field, said] = /^(\w+): ?(.*)$/s.exec(line) ?? [];
        if (field === "event") event.name = said;
        else if (field === "id") event.id = said;
        else if (field === "data") event.data += said;
      }
      if (event.data) yield event;
    }
  }
}
