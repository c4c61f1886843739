interface Item {
  id: number;
  title: string;
}

const items: Item[] = [{ id: 1, title: "First" }];

export default {
  async fetch(request: Request): Promise<Response> {
    if (request.method === "GET") return Response.json(items);
    if (request.method === "POST") {
      const { title } = (await request.json()) as { title: string };
      const item: Item = { id: items.length + 1, title };
      items.push(item);
      return Response.json(item, { status: 201 });
    }
    return new Response("Method not allowed", { status: 405 });
  },
};
