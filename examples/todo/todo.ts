// A REST API: GET and POST /, PATCH and DELETE /{id}.

interface Todo {
  id: number;
  title: string;
  done: number;
}

const shown = ({ id, title, done }: Todo) => ({ id, title, done: done === 1 });
const refused = (status: number, error: string) => Response.json({ error }, { status });

export default {
  async fetch(request: Request, env: any): Promise<Response> {
    const [id] = new URL(request.url).pathname.split("/").filter(Boolean);
    if (id === undefined) return request.method === "POST" ? create(request, env.DB) : list(env.DB);
    if (!/^\d{1,9}$/.test(id)) return refused(404, "no such todo");
    if (request.method === "PATCH") return change(request, env.DB, Number(id));
    if (request.method === "DELETE") return remove(env.DB, Number(id));
    return refused(405, "GET and POST /, PATCH and DELETE /{id}");
  },
};

async function list(db: any): Promise<Response> {
  const { results } = await db.prepare("SELECT * FROM todos ORDER BY id").all();
  return Response.json(results.map(shown));
}

async function create(request: Request, db: any): Promise<Response> {
  const body = await request.json().catch(() => null) as { title?: unknown } | null;
  if (typeof body?.title !== "string" || body.title === "") return refused(400, "title must be text");
  const todo = await db.prepare("INSERT INTO todos (title) VALUES (?) RETURNING *").bind(body.title).first();
  return Response.json(shown(todo), { status: 201 });
}

async function change(request: Request, db: any, id: number): Promise<Response> {
  const body = await request.json().catch(() => null) as { done?: unknown } | null;
  if (typeof body?.done !== "boolean") return refused(400, "done must be true or false");
  const todo = await db.prepare("UPDATE todos SET done = ? WHERE id = ? RETURNING *").bind(Number(body.done), id).first();
  return todo === null ? refused(404, "no such todo") : Response.json(shown(todo));
}

async function remove(db: any, id: number): Promise<Response> {
  const { meta } = await db.prepare("DELETE FROM todos WHERE id = ?").bind(id).run();
  return meta.changes === 0 ? refused(404, "no such todo") : new Response(null, { status: 204 });
}
