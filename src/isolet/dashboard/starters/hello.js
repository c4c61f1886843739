export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const name = url.searchParams.get("name") ?? "world";
    console.log("greeting", name);
    return Response.json({ message: `Hello, ${name}!` });
  },
};
