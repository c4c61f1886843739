// A page, and one room for all who have it open. The room is in the memory of one instance.
import page from "./page.html";

const room = new Set();

export default {
  fetch(request) {
    if (request.headers.get("upgrade") !== "websocket") {
      return new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
    }
    const { 0: client, 1: server } = new WebSocketPair();
    server.accept();
    room.add(server);
    server.addEventListener("message", ({ data }) => say(String(data).slice(0, 500)));
    server.addEventListener("close", () => room.delete(server));
    say(`${room.size} here`);
    return new Response(null, { status: 101, webSocket: client });
  },
};

function say(text) {
  for (const socket of room) {
    try {
      socket.send(text);
    } catch {
      room.delete(socket);
    }
  }
}
